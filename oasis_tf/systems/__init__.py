"""The systems, one room each."""
