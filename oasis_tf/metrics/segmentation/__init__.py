"""Segmentation scores: the discriminator on photographs, alignment with label maps."""
