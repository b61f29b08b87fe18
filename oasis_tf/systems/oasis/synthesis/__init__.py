"""The `synthesize` command: images, edits and segmentations from files."""
