"""Unsupervised visible-infrared person re-identification: ECUL with EMCC clustering and TSMem memories."""

__version__ = "0.1.0"
