"""Comparisons of the system `one_shot` with recorded numbers."""
