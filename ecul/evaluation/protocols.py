"""Which images are queries and which are gallery, in every trial of every protocol (docs/method.md, evaluation)."""

import random
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ecul.errors import ConfigError, DataError
from ecul.types import LabelledIndex, Modality

GALLERY_RULES = ("community", "official")
_NUM_TRIALS = 10
_MULTI_SHOT = 10
_OUTDOOR_AND_INDOOR = (1, 2, 4, 5)
_INDOOR = (1, 2)


@dataclass(frozen=True)
class Trial:
    """One query set against one gallery.

    Attributes:
        query: positions in the test index, ascending.
        gallery: positions in the test index, sorted by identity, then camera, for drawn galleries.
        rule: ranking rule of `ecul.evaluation.ranking`.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    rule: str


@dataclass(frozen=True)
class _Protocol:
    """Attributes: rule = layout; gallery_cameras None = all; num_shots per (identity, camera), None = all images."""

    rule: str
    query_modality: Modality
    gallery_cameras: tuple[int, ...] | None = None
    num_shots: int | None = None

    @property
    def gallery_modality(self) -> Modality:
        """The modality that is not the query's."""
        return Modality(1 - self.query_modality)

    @property
    def num_trials(self) -> int:
        """A full gallery has nothing to draw, hence one trial (RegDB's ten are ten trained models)."""
        return 1 if self.num_shots is None else _NUM_TRIALS


_PROTOCOLS = {
    "sysu_all_single": _Protocol("sysu", Modality.INFRARED, _OUTDOOR_AND_INDOOR, 1),
    "sysu_all_multi": _Protocol("sysu", Modality.INFRARED, _OUTDOOR_AND_INDOOR, _MULTI_SHOT),
    "sysu_indoor_single": _Protocol("sysu", Modality.INFRARED, _INDOOR, 1),
    "sysu_indoor_multi": _Protocol("sysu", Modality.INFRARED, _INDOOR, _MULTI_SHOT),
    "regdb_visible_to_infrared": _Protocol("regdb", Modality.VISIBLE),
    "regdb_infrared_to_visible": _Protocol("regdb", Modality.INFRARED),
    "llcm_visible_to_infrared": _Protocol("llcm", Modality.VISIBLE, num_shots=1),
    "llcm_infrared_to_visible": _Protocol("llcm", Modality.INFRARED, num_shots=1),
}
PROTOCOLS = tuple(_PROTOCOLS)


def default_protocols(layout: str) -> tuple[str, ...]:
    """The names of a layout's protocols, the one that papers quote first in front.

    Args:
        layout: `sysu`, `regdb` or `llcm`.

    Raises:
        ConfigError: an unknown layout.
    """
    names = tuple(name for name, protocol in _PROTOCOLS.items() if protocol.rule == layout)
    if not names:
        raise ConfigError(f"no protocol for the layout {layout!r}, expected sysu, regdb or llcm")
    return names


def build_trials(index: LabelledIndex, *, protocol: str, gallery_rule: str = "community") -> list[Trial]:
    """The trials of one protocol on the test images.

    Args:
        index: all test images; within an (identity, camera) in sorted file-name order.
        protocol: one of `PROTOCOLS`.
        gallery_rule: `community` draws as the field's public Python code does (seed = trial, one draw per identity
            and camera over sorted identities); `official` reads the fixed permutation table of SYSU-MM01.

    Raises:
        ConfigError: an unknown protocol or gallery rule, or `official` where no table exists.
        DataError: no query or gallery image, or images that do not fit the official table.
    """
    chosen = _look_up(protocol, gallery_rule)
    modality = index.samples.modality
    query = np.flatnonzero(modality == chosen.query_modality)
    in_gallery = modality == chosen.gallery_modality
    if chosen.gallery_cameras is not None:
        in_gallery &= np.isin(index.samples.camera, chosen.gallery_cameras)
    candidates = np.flatnonzero(in_gallery)
    for what, positions in (("query", query), ("gallery", candidates)):
        if len(positions) == 0:
            raise DataError(f"{protocol}: no {what} image among the {len(index)} test images ({_needs(chosen, what)})")
    if chosen.num_shots is None:
        galleries = [candidates]
    else:
        groups = _group(index, candidates)
        draw = _draw_community if gallery_rule == "community" else _draw_official
        galleries = [draw(groups, trial, chosen.num_shots) for trial in range(chosen.num_trials)]
    return [Trial(query=query, gallery=gallery, rule=chosen.rule) for gallery in galleries]


def _look_up(protocol: str, gallery_rule: str) -> _Protocol:
    if protocol not in _PROTOCOLS:
        raise ConfigError(f"protocol {protocol!r} is unknown, expected one of {', '.join(PROTOCOLS)}")
    if gallery_rule not in GALLERY_RULES:
        raise ConfigError(f"gallery rule {gallery_rule!r} is unknown, expected one of {', '.join(GALLERY_RULES)}")
    if gallery_rule == "official" and _PROTOCOLS[protocol].rule != "sysu":
        raise ConfigError(f"{protocol} has no official gallery table (SYSU-MM01 only); use gallery rule community")
    return _PROTOCOLS[protocol]


def _needs(protocol: _Protocol, what: str) -> str:
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
