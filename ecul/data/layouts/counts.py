"""Sizes of datasets, and what a size that differs from the known one means."""

from dataclasses import dataclass

Counts = dict[str, dict[str, int]]
"""Identities, visible and infrared images, by split."""


@dataclass(frozen=True)
class KnownMistake:
    """A wrong preparation that has been seen before.

    Attributes:
        split: where it shows.
        quantity: what is wrong: `identities`, `visible` or `infrared`.
        count: the wrong number.
        cause: what it means and what to do.
    """

    split: str
    quantity: str
    count: int
    cause: str


def compare(found: Counts, expected: Counts, *, mistakes: tuple[KnownMistake, ...] = ()) -> list[str]:
    """Returns one sentence for each count that differs from what is expected, and the causes that are known."""
    problems: list[str] = []
    causes: list[str] = []
    for split, quantities in expected.items():
        for quantity, count in quantities.items():
            actual = found[split][quantity]
            if actual == count:
                continue
            noun = "identities" if quantity == "identities" else f"{quantity} images"
            problems.append(f"{split}: {actual:,} {noun}, expected {count:,} ({actual - count:+,})")
            causes += [m.cause for m in mistakes if (m.split, m.quantity, m.count) == (split, quantity, actual)]
    return problems + list(dict.fromkeys(causes))
