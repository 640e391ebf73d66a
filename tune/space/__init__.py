"""The search space: what a trial may choose."""
