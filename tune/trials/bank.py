"""A saved feature bank: embeddings of the training images, and of held-out people with who they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecul.clustering.pipeline import check_bank
from ecul.config import Config
from ecul.errors import DataError
from ecul.files import read_npz, replacing
from ecul.types import FeatureBank, IntArray, SampleIndex

_ARRAYS = ("features", "modality", "camera")


@dataclass(frozen=True, kw_only=True)
class TuningBank:
    """What the `features` fidelity clusters.

    Attributes:
        train: embeddings of the training images; nobody's identity is kept.
        validation: embeddings of people that the network never trained on; None where there are none.
        identity: int32, one a validation image.
        facts: where it came from: data set, digest of its files, epoch, weights.
    """

    train: FeatureBank
    validation: FeatureBank | None = None
    identity: IntArray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def embed_run(config: Config, *, checkpoint: dict[str, Any] | None, held_out: bool) -> TuningBank:
    """Returns the features of a checkpoint, or of the starting weights without one.

    Args:
        config: where the images are and how they are read.
        checkpoint: whose weights; None for the configured starting weights.
        held_out: whether the network never trained on the validation people. Only then are they kept.
    """
    # here, because a sweep over a saved bank needs neither torch nor images
    from ecul import runtime
    from ecul.data.dataset import digest
    from ecul.engine.checkpoints import network_of
    from ecul.engine.embedding import embed_images
    from ecul.engine.session import build_network, image_store, open_data

    dataset = open_data(config)
    device = runtime.pick_device(config.runtime.device)
    runtime.make_deterministic(config.seed)
    model = (build_network(config) if checkpoint is None else network_of(config, checkpoint)).to(device)

    def embed(samples: SampleIndex) -> FeatureBank:
        features = embed_images(
            model,
            image_store(config, samples.paths),
            samples,
            device=device,
            batch_size=config.evaluation.batch_size,
            autocast=config.runtime.autocast,
        )
        return FeatureBank(features=features.cpu().numpy(), modality=samples.modality, camera=samples.camera)

    validation = dataset.validation if held_out else None
    return TuningBank(
        train=embed(dataset.train.samples),
        validation=None if validation is None else embed(validation.samples),
        identity=None if validation is None else validation.identity,
        facts={
            "dataset": dataset.name,
            "data_digest": digest(dataset),
            "epoch": 0 if checkpoint is None else checkpoint["epoch"],
            "weights": config.model.weights if checkpoint is None else "checkpoint",
        },
    )


def save_bank(bank: TuningBank, path: Path) -> None:
    """Writes a bank as npz; a reader sees the old file or the whole new one.

    Raises:
        OSError: the file cannot be written.
    """
    arrays = {name: getattr(bank.train, name) for name in _ARRAYS}
    if bank.validation is not None and bank.identity is not None:
        arrays |= {f"validation_{name}": getattr(bank.validation, name) for name in _ARRAYS}
        arrays["validation_identity"] = bank.identity
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
    present = [name for name in held_out if name in arrays]
    if present and len(present) < len(held_out):
        raise DataError(f"{path} has {', '.join(present)} but not all of {', '.join(held_out)}; make the bank again")
    try:
        facts = json.loads(str(arrays.get("facts", "{}")))
        train = _bank(arrays, "")
        validation = _bank(arrays, "validation_") if present else None
    except ValueError as error:
        raise DataError(f"{path} is not a feature bank: {error}") from None
    identity = arrays["validation_identity"] if present else None
    if validation is not None and (identity is None or identity.shape != (len(validation),)):
        raise DataError(f"{path}: validation_identity does not fit validation_features; make the bank again")
    return TuningBank(train=train, validation=validation, identity=identity, facts=facts)


def _bank(arrays: Mapping[str, Any], prefix: str) -> FeatureBank:
    bank = FeatureBank(**{name: arrays[prefix + name] for name in _ARRAYS})
    check_bank(bank)
    return bank
