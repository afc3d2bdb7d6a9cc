"""Scoring new audio with a trained ensemble: the scorer, its answers and intervals, the model card, the page."""
