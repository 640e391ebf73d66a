"""The record of a sweep: an Optuna study on disk, and Ray Tune's access to it."""
