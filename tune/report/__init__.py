"""What a sweep found, as text and pictures."""
