"""Checkpoints of the authors' PyTorch release of SIV-GAN and OSMIS."""
