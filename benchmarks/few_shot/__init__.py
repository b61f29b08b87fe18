"""Comparisons of the system `few_shot` with recorded numbers and with PyTorch."""
