"""Which images are queries and which are gallery, in every trial of every protocol (docs/method.md, "Evaluation")."""

import random
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ecul.errors import ConfigError, DataError
from ecul.names import GalleryRule, LayoutName
from ecul.types import LabelledIndex, RetrievalProtocol

NUM_TRIALS = 10
"""Galleries drawn for a protocol. A full gallery has nothing to draw, hence one trial (RegDB's ten are ten models)."""


@dataclass(frozen=True)
class Trial:
    """One query set against one gallery.

    Attributes:
        query: positions in the test index, ascending.
        gallery: positions in the test index, sorted by identity, then camera, for drawn galleries.
        rule: ranking rule (`ecul.evaluation.ranking.RULES`), named after a layout.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    rule: LayoutName


def build_trials(index: LabelledIndex, *, protocol: RetrievalProtocol, gallery_rule: str = "community") -> list[Trial]:
    """The trials of one protocol on the test images.

    Args:
        index: all test images; within an (identity, camera) in sorted file-name order.
        protocol: of the dataset's layout (`ecul.data.layouts`).
        gallery_rule: `community` draws as the field's public Python code does (seed = trial, one draw per identity
            and camera over sorted identities); `official` reads the fixed permutation table of SYSU-MM01.

    Raises:
        ConfigError: an unknown gallery rule, or `official` where no table exists.
        DataError: no query or gallery image, or images that do not fit the official table.
    """
    _check_rule(protocol, gallery_rule)
    modality = index.samples.modality
    query = np.flatnonzero(modality == protocol.query_modality)
    in_gallery = modality == protocol.gallery_modality
    if protocol.gallery_cameras is not None:
        in_gallery &= np.isin(index.samples.camera, protocol.gallery_cameras)
    candidates = np.flatnonzero(in_gallery)
    for what, positions in (("query", query), ("gallery", candidates)):
        if len(positions) == 0:
            needs = _needs(protocol, what)
            raise DataError(f"{protocol.name}: no {what} image among the {len(index)} test images ({needs})")
    if protocol.num_shots is None:
        galleries = [candidates]
    else:
        groups = _group(index, candidates)
        draw = _draw_community if gallery_rule == "community" else _draw_official
        galleries = [draw(groups, trial, protocol.num_shots) for trial in range(NUM_TRIALS)]
    return [Trial(query=query, gallery=gallery, rule=protocol.rule) for gallery in galleries]


def _check_rule(protocol: RetrievalProtocol, gallery_rule: str) -> None:
    rules = get_args(GalleryRule)
    if gallery_rule not in rules:
        raise ConfigError(f"gallery rule {gallery_rule!r} is unknown, expected one of {', '.join(rules)}")
    if gallery_rule == "official" and not protocol.official_galleries:
        raise ConfigError(f"{protocol.name} has no official gallery table; use gallery rule community")


def _needs(protocol: RetrievalProtocol, what: str) -> str:
    """In words, the images that a query or gallery is made of."""
    if what == "query":
        return f"needs {protocol.query_modality.name.lower()} images"
    cameras = protocol.gallery_cameras
    where = "" if cameras is None else f" of cameras {', '.join(map(str, cameras))}"
    return f"needs {protocol.gallery_modality.name.lower()} images{where}"


_Groups = dict[tuple[int, int], list[int]]


def _group(index: LabelledIndex, positions: NDArray[np.int64]) -> _Groups:
    """Positions by (identity, camera), the keys sorted, the positions in index order."""
    groups: _Groups = {}
    for position in positions.tolist():
        key = (int(index.identity[position]), int(index.samples.camera[position]))
        groups.setdefault(key, []).append(position)
    return dict(sorted(groups.items()))


def _draw_community(groups: _Groups, trial: int, num_shots: int) -> NDArray[np.int64]:
    """One `choice` (or a `sample` of several) per group from a generator seeded with the trial number."""
    source = random.Random(trial)
    gallery: list[int] = []
    for members in groups.values():
        if num_shots == 1:
            gallery.append(source.choice(members))
        else:
            gallery.extend(source.sample(members, min(num_shots, len(members))))
    return np.array(gallery, dtype=np.int64)


def _draw_official(groups: _Groups, trial: int, num_shots: int) -> NDArray[np.int64]:
    """The first images of row `trial` of each group's permutation."""
    table = _official_table()
    gallery: list[int] = []
    for (identity, camera), members in groups.items():
        num_images, draws = table.get((identity, camera), (0, None))
        if draws is None or num_images != len(members):
            raise DataError(
                f"the official gallery table knows {num_images} images of identity {identity} under camera {camera}, "
                f"the data has {len(members)}; it fits the test split of the real SYSU-MM01 only, "
                "for other data use gallery rule community"
            )
        gallery.extend(members[draw] for draw in draws[trial, :num_shots].tolist())
    return np.array(gallery, dtype=np.int64)


@cache
def _official_table() -> dict[tuple[int, int], tuple[int, NDArray[np.int16]]]:
    """Number of images and draws (10 trials, 10 image numbers from 0) by (identity, camera).

    Numbers from the data files of the dataset's own evaluation code, cut to its test identities and visible cameras.
    """
    source = resources.files("ecul.evaluation").joinpath("sysu_mm01_official.npz")
    with source.open("rb") as stream, np.load(stream) as arrays:
        keys = zip(arrays["identity"].tolist(), arrays["camera"].tolist(), strict=True)
        values = zip(arrays["num_images"].tolist(), arrays["draws"], strict=True)
        return dict(zip(keys, values, strict=True))
