"""LVIS average precision of what a detector found on generated images."""
