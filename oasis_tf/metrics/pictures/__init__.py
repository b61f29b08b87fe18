"""Metrics of models that have learnt from one picture or one short clip."""
