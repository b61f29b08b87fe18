"""The command `synthesize` of `few_shot`."""
