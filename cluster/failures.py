"""Errors as one line of text."""


def describe(error: BaseException) -> str:
    """Returns an error's type and the first line of its text, at most 200 characters of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
