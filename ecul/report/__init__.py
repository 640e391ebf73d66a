"""The report: one HTML page of runs and sweeps that needs no network and runs no scripts."""
