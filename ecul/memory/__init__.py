"""Cluster memories and their two-step update (TSMem)."""
