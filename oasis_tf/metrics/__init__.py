"""Metrics: how good a model is, measured on the validation split of a prepared data set."""
