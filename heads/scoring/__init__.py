"""Scoring new audio with a trained ensemble: scorer, answers, intervals, the model card, the page."""
