"""Training: the loop, checkpoints, summaries and the optimizer."""
