"""Retrieval metrics and the protocols of the datasets."""
