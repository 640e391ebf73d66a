"""Measurements: seconds, memory and growth. Nothing here is a stage of the method."""
