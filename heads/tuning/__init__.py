"""Tuning of heads: sweeps of trials, and what they search, optimise, remember and find."""
