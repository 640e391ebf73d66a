"""What one trial does, and how it is scored."""
