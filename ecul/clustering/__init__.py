"""Pseudo-labels from embeddings: one sparse engine, five presets."""
