"""A saved feature bank: embeddings of the training images, and of held-out people with who they are."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecul.clustering.pipeline import check_bank
from ecul.errors import DataError
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
    partial = path.with_name(f"{path.name}.partial.npz")
    np.savez(partial, facts=np.array(json.dumps(dict(bank.facts))), **arrays)
    os.replace(partial, path)


def load_bank(path: Path) -> TuningBank:
    """Returns the bank in a file, checked.

    Raises:
        DataError: the file is missing, is something else, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        facts = json.loads(str(arrays.get("facts", "{}")))
        train = _bank(arrays, "")
        held_out = "validation_features" in arrays
        validation = _bank(arrays, "validation_") if held_out else None
        identity = arrays["validation_identity"] if held_out else None
    except FileNotFoundError:
        raise DataError(f"no feature bank {path}; make one with `python -m tune.features RUN --out {path}`") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a feature bank: {error}") from None
    if validation is not None and (identity is None or identity.shape != (len(validation),)):
        raise DataError(f"{path}: validation_identity does not fit validation_features; make the bank anew")
    return TuningBank(train, validation, identity, facts)


def _bank(arrays: Mapping[str, Any], prefix: str) -> FeatureBank:
    bank = FeatureBank(*(arrays[prefix + name] for name in _ARRAYS))
    check_bank(bank)
    return bank
