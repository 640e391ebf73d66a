"""Cluster- and instance-level contrastive losses."""
