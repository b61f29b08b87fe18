"""Exporters: trained models in formats that run without `oasis_tf`."""
