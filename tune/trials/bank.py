"""A saved feature bank: embeddings of the training images, and of held-out people with who they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecul.clustering.pipeline import check_bank
from ecul.errors import DataError
from ecul.files import read_npz, replacing
from ecul.types import FeatureBank, IntArray

_ARRAYS = ("features", "modality", "camera")


@dataclass(frozen=True)
class TuningBank:
    """What the `features` fidelity clusters.

    Attributes:
        train: embeddings of the training images; nobody's identity is kept.
        validation: embeddings of people that the network never trained on; None where there are none.
        identity: int32, one a validation image.
        facts: where it came from.
    """

    train: FeatureBank
    validation: FeatureBank | None
    identity: IntArray | None
    facts: Mapping[str, Any]


def save_bank(bank: TuningBank, path: Path) -> None:
    """Writes a bank as npz; a reader sees the old file or the whole new one.

    Raises:
        OSError: the file cannot be written.
    """
    arrays = {name: getattr(bank.train, name) for name in _ARRAYS}
    if bank.validation is not None and bank.identity is not None:
        arrays |= {f"validation_{name}": getattr(bank.validation, name) for name in _ARRAYS}
        arrays["validation_identity"] = bank.identity
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(dict(bank.facts))), **arrays)


def load_bank(path: Path) -> TuningBank:
    """Returns the bank in a file, checked.

    Raises:
        DataError: the file is missing, is something else, or its arrays do not fit together.
    """
    if not path.is_file():
        raise DataError(f"no feature bank {path}; make one with `python -m tune.features RUN --out {path}`")
    held_out = (*(f"validation_{name}" for name in _ARRAYS), "validation_identity")
    arrays = read_npz(path, _ARRAYS, optional=(*held_out, "facts"), what="a feature bank")
    found = [name for name in held_out if name in arrays]
    if found and len(found) < len(held_out):
        raise DataError(f"{path} has {', '.join(found)} but not all of {', '.join(held_out)}; make the bank again")
    try:
        facts = json.loads(str(arrays.get("facts", "{}")))
        train = _bank(arrays, "")
        validation = _bank(arrays, "validation_") if found else None
    except ValueError as error:
        raise DataError(f"{path} is not a feature bank: {error}") from None
    identity = arrays["validation_identity"] if found else None
    if validation is not None and (identity is None or identity.shape != (len(validation),)):
        raise DataError(f"{path}: validation_identity does not fit validation_features; make the bank again")
    return TuningBank(train, validation, identity, facts)


def _bank(arrays: Mapping[str, Any], prefix: str) -> FeatureBank:
    bank = FeatureBank(*(arrays[prefix + name] for name in _ARRAYS))
    check_bank(bank)
    return bank
