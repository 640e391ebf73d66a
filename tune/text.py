"""Numbers, values and tables as text."""

from collections.abc import Mapping, Sequence
from typing import Any


def short(value: Any) -> str:
    """Returns a value with at most four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def values_text(values: Mapping[str, Any]) -> str:
    """Returns {path: value} as `path=value, path=value`."""
    return ", ".join(f"{path}={short(value)}" for path, value in values.items())


def duration_text(seconds: float) -> str:
    """Returns a duration in its usual unit: `40 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table whose columns line up as text."""
    widths = [max(len(line[column]) for line in [columns, *rows]) for column in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(columns), line(["-" * width for width in widths]), *(line(cells) for cells in rows)])
