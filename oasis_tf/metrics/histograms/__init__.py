"""Colour and texture of generated against real images, class by class."""
