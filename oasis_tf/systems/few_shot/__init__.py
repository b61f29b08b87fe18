"""A GAN adapted to a few pictures: StyleGAN2 and BigGAN, smoothness similarity, and baselines."""
