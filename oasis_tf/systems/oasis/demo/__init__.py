"""The demo of OASIS: the page, and what it can ask of a model."""
