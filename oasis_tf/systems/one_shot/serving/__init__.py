"""Signatures of `one_shot`."""
