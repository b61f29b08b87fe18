"""Checkpoints of the authors' PyTorch release, read and written."""
