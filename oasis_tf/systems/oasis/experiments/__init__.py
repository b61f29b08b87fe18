"""Experiments of the papers that train more than one thing; each has a command."""
