"""Checkpoints of other releases: rosinality's and NVlabs' StyleGAN2, BigGAN-PyTorch."""
