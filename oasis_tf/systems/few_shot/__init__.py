"""Generators adapted to a few pictures (dissertation, chapter 7): StyleGAN2 and BigGAN."""
