"""Files in, images out: the work behind the `synthesize` command."""
