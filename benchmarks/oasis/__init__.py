"""Benchmarks of OASIS: parity with PyTorch, and editing."""
