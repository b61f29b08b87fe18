"""Reads and writes checkpoints of the authors' PyTorch release."""
