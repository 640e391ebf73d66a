"""Embeddings of a whole image index."""
