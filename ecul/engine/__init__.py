"""Training: where the stages meet."""
