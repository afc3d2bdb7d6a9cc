"""Hostile input files, made by hypothesis from a seed: one line with the file, never a traceback."""
