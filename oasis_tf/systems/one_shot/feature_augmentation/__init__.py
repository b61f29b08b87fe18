"""Augmentation of the discriminator's features of real images.

Decisions (which channels, which rectangles) are apart from their application.
"""
