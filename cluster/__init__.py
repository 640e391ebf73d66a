"""Training over a Ray cluster: `ecul.engine.fit` in Ray Train workers, the clustering in Ray tasks."""
