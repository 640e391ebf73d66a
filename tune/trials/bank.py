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
        source: embeddings of people of another, labelled data set; None without one.
        source_identity: int32, one a source image.
        facts: where it came from: data set, digest of its files, epoch, weights.
    """

    train: FeatureBank
    validation: FeatureBank | None = None
    identity: IntArray | None = None
    source: FeatureBank | None = None
    source_identity: IntArray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def embed_run(
    config: Config, *, checkpoint: dict[str, Any] | None, held_out: bool, source: str | None = None
) -> TuningBank:
    """Returns the features of a checkpoint, or of the starting weights without one.

    Args:
        config: where the images are and how they are read.
        checkpoint: whose weights; None for the configured starting weights.
        held_out: whether the network never trained on the validation people. Only then are they kept.
        source: folder of another data set, whose training people go through the same network.

    Raises:
        DataError: something about a folder is wrong.
    """
    # here, because a sweep over a saved bank needs neither torch nor images
    from ecul import runtime
    from ecul.data.dataset import digest, open_dataset
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
    others = None if source is None else open_dataset(source, layout="auto", trial=1, hold_out_validation=False).train
    return TuningBank(
        train=embed(dataset.train.samples),
        validation=None if validation is None else embed(validation.samples),
        identity=None if validation is None else validation.identity,
        source=None if others is None else embed(others.samples),
        source_identity=None if others is None else others.identity,
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
    for prefix, people, identity in (
        ("validation_", bank.validation, bank.identity),
        ("source_", bank.source, bank.source_identity),
    ):
        if people is not None and identity is not None:
            arrays |= {f"{prefix}{name}": getattr(people, name) for name in _ARRAYS}
            arrays[f"{prefix}identity"] = identity
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(dict(bank.facts))), **arrays)


def load_bank(path: Path) -> TuningBank:
    """Returns the bank in a file, checked.

    Raises:
        DataError: the file is missing, is something else, or its arrays do not fit together.
    """
    if not path.is_file():
        raise DataError(f"no feature bank {path}; make one with `python -m tune.features RUN --out {path}`")
    known = [f"{prefix}{name}" for prefix in ("validation_", "source_") for name in (*_ARRAYS, "identity")]
    arrays = read_npz(path, _ARRAYS, optional=(*known, "facts"), what="a feature bank")
    try:
        facts = json.loads(str(arrays.get("facts", "{}")))
        train = _bank(arrays, "")
        validation, identity = _people(arrays, "validation_", path)
        source, source_identity = _people(arrays, "source_", path)
    except ValueError as error:
        raise DataError(f"{path} is not a feature bank: {error}") from None
    return TuningBank(
        train=train,
        validation=validation,
        identity=identity,
        source=source,
        source_identity=source_identity,
        facts=facts,
    )


def _people(arrays: Mapping[str, Any], prefix: str, path: Path) -> tuple[FeatureBank | None, IntArray | None]:
    """People whose identities are known, and these; None without them."""
    needed = [f"{prefix}{name}" for name in (*_ARRAYS, "identity")]
    present = [name for name in needed if name in arrays]
    if not present:
        return None, None
    if len(present) < len(needed):
        raise DataError(f"{path} has {', '.join(present)} but not all of {', '.join(needed)}; make the bank again")
    bank, identity = _bank(arrays, prefix), arrays[f"{prefix}identity"]
    if identity.shape != (len(bank),):
        raise DataError(f"{path}: {prefix}identity does not fit {prefix}features; make the bank again")
    return bank, identity


def _bank(arrays: Mapping[str, Any], prefix: str) -> FeatureBank:
    bank = FeatureBank(**{name: arrays[prefix + name] for name in _ARRAYS})
    check_bank(bank)
    return bank
