"""What claims come from: parity with a PyTorch OASIS, and speed as ratios measured side by side.

Run as ``python -m benchmarks.NAME`` in the repository.
"""
