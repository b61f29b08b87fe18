"""Ablations: lists of flagfiles that are trained and measured alike, and their tables."""
