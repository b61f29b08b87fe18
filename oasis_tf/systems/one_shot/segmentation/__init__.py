"""One-shot segmentation with generated pairs as augmentation (OSMIS)."""
