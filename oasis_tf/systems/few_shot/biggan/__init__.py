"""BigGAN (Brock et al., ICLR 2019), 32x32 to 256x256."""
