"""OASIS, the SPADE baselines, and the ablations between them."""
