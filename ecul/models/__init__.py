"""Dual-stream backbones."""
