"""OASIS, the SPADE baselines and their ablations."""
