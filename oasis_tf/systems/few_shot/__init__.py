"""Generators adapted to few pictures: StyleGAN2 and BigGAN, L_SS and L_all (chapter 7)."""
