"""What an exported OASIS computes: signatures, and networks for TFLite."""
