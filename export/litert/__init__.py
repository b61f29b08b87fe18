"""Trained networks as TFLite files: built, converted, described and measured."""
