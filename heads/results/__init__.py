"""What stored predictions tell: figures with intervals, ceilings and baselines; tables, plots, the report."""
