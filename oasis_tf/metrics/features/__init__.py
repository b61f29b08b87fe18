"""Distances of real and generated images by features: FID, KID, precision and recall."""
