"""Datasets, their indexes, images, augmentation and sampling."""
