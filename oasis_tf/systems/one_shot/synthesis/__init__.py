"""The command `synthesize` of `one_shot`."""
