"""Errors that a user or data can cause. Commands print them as one line and end with exit code 2."""


class EculError(Exception):
    """Base of all errors that a user can mend; the text says what was got, what was expected, and what to do."""


class ConfigError(EculError):
    """A configuration key or value that cannot be used."""


class DataError(EculError):
    """A dataset, image or array that cannot be used."""


class CheckpointError(EculError):
    """A checkpoint that is missing, truncated or from something else."""


class TrainingError(EculError):
    """Training cannot go on (non-finite loss, nothing left to train on)."""


class SearchError(EculError):
    """A neighbour search whose numbers cannot be trusted on this machine."""
