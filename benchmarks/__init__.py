"""Speed, as ratios measured side by side in one run. Run as ``python -m benchmarks.NAME``."""
