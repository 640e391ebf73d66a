"""The known sizes of the datasets, and how a preparation that differs from them went wrong."""

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


REAL: dict[str, Counts] = {
    "sysu": {
        "train": {"identities": 395, "visible": 22_258, "infrared": 11_909},
        "test": {"identities": 96, "visible": 6_775, "infrared": 3_803},
    },
    "regdb": {
        "train": {"identities": 206, "visible": 2_060, "infrared": 2_060},
        "test": {"identities": 206, "visible": 2_060, "infrared": 2_060},
    },
    "llcm": {
        "train": {"identities": 713, "visible": 16_946, "infrared": 13_975},
        "test": {"identities": 351, "visible": 8_680, "infrared": 7_166},
    },
}

SYSU_GALLERIES = {"all": ((1, 2, 4, 5), 301), "indoor": ((1, 2), 112)}
"""Visible cameras of a gallery, and its single-shot size: one image for each test identity and camera."""

_PARTIAL_SYSU = (
    "this preparation is known: it lacks 28 training identities and has cost several points of Rank-1; "
    "unpack all six camera folders again and use train_id.txt together with val_id.txt"
)
_NO_VALIDATION = "the 99 identities of val_id.txt are missing; every published result trains on train_id and val_id"
KNOWN_MISTAKES: dict[str, tuple[KnownMistake, ...]] = {
    "sysu": (
        KnownMistake("train", "identities", 367, _PARTIAL_SYSU),
        KnownMistake("train", "infrared", 11_333, _PARTIAL_SYSU),
        KnownMistake("train", "identities", 296, _NO_VALIDATION),
    ),
}


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
