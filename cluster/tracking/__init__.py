"""Experiment trackers: Weights & Biases and TensorBoard behind one interface, fed by a background thread."""
