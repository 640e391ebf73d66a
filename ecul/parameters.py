"""Numbers of the clusterings: settings of a run, and arguments of the stages, at once.

Frozen dataclasses, so that the stages depend on no settings library; `ecul.config` checks values against the
ranges in the annotations and takes the string under each field as its documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from ecul.names import Balance, Centring, Groups, Links, Reading, Reciprocal, SearchBackend

CHECKED = {"extra": "forbid", "use_attribute_docstrings": True}
"""How `ecul.config` reads such a dataclass: unknown keys are errors, and the strings under fields document them."""

Preset = Literal[
    "emcc",
    "kreciprocal",
    "modality_balanced",
    "balanced_neighbours",
    "camera_aware",
    "camera_quota",
    "camera_window",
]
"""Neighbour distances; their recipes are in `ecul.clustering.presets`."""

PRESET_DEFAULTS: Mapping[str, Mapping[str, int | str | None]] = {
    "emcc": {
        "k1": 10,
        "k2": 4,
        "k3": 10,
        "groups": "modality_camera",
        "reading": "groups",
        "reciprocal": None,
        "balance": None,
    },
    "kreciprocal": {"k1": 30, "k2": 6},
    "modality_balanced": {"k1": 40, "k2": 32},
    "balanced_neighbours": {"k1": 30, "k2": 6},
    "camera_aware": {"k1_intra": 5, "k1_inter": 20, "k2_intra": 2, "k2_inter": 4},
    "camera_quota": {"k1": 40, "k2": 16, "k3": 40, "groups": "modality_camera", "balance": "modalities"},
    "camera_window": {"k1": 40, "k2": 32, "groups": "modality_camera", "balance": "modalities"},
}
"""The numbers that each preset uses, with its defaults. A preset refuses numbers that are not named here.

None: the default depends on another setting.

docs/configuration.md takes the defaults from here; the strings under the fields do not repeat them.
"""

WINDOW_DEFAULTS: Mapping[str, int | str] = {"k1": 40, "k2": 16, "k3": 40}
"""Those of emcc's reading `window`, which counts over all images; `k1` only where its neighbours are counted so."""

_OPTIONAL = (
    "groups", "reading", "reciprocal", "balance", "k1", "k2", "k3", "k1_intra", "k1_inter", "k2_intra", "k2_inter"
)  # fmt: skip
Range = Annotated[int, Ge(1), Le(1000)]
Eps = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True)
class ClusteringParameters:
    """One clustering: a preset (which neighbours count, and how they are fused), its ranges, and DBSCAN's numbers.

    What the preset has a default for may be left out or null; what it does not use must be. The method and its
    sources are in docs/method.md, "EMCC".
    """

    __pydantic_config__: ClassVar = CHECKED

    preset: Preset = "emcc"
    """How distances are made: `emcc` (ECUL), or those of ADCA (`kreciprocal`), PCA (`modality_balanced`), BMIL
    (`balanced_neighbours`), CA-Jaccard (`camera_aware`) and MPJL (`camera_quota`, and its older `camera_window`)."""
    eps: Eps = 0.6
    """DBSCAN: largest Jaccard distance between neighbours. Larger makes fewer, larger clusters, merges strangers and
    leaves less noise. Public codes use 0.6 on SYSU-MM01 and 0.3 on RegDB; docs/log.md shows what 0.6 does to others."""
    min_samples: Range = 4
    """DBSCAN: images within `eps`, itself included, that make an image a core of a cluster. More leaves more noise.
    Public codes of this family use 4."""
    groups: Groups | None = None
    """emcc, camera_quota, camera_window: groups of images that neighbours are counted in. `modality_camera` gives each
    camera its own; `modality` suits datasets whose cameras see few people."""
    reading: Reading | None = None
    """emcc: what k2 and k3 are. `groups`: the k2 nearest of every group are averaged, and of the average only the
    images among the k3 nearest of a group stay. `window`: of the k3 nearest over all groups, at most k2 of each group
    are averaged, as in camera_quota (whose ranges are the defaults then); so a group without near images has no
    vote."""
    reciprocal: Reciprocal | None = None
    """emcc: where the k1 neighbours are counted, in each of the `groups` or over `all` images. Null: as the reading
    (`groups`: groups, `window`: all). Over all, a wide gap between the modalities leaves no neighbours beyond it."""
    balance: Balance | None = None
    """emcc, camera_quota, camera_window: what weighs the same in the average, all `groups`, or both `modalities` and
    inside them their groups. Null (emcc): as the reading (`groups`: groups, `window`: modalities)."""
    k1: Range | None = None
    """Nearest neighbours that may be reciprocal (emcc: in each group; else: in all, and in the reading `window`). More
    link harder positives and more strangers."""
    k2: Range | None = None
    """Nearest neighbours whose encodings are averaged (emcc: in each group). More smooth more, and blur small
    clusters. camera_quota and the reading `window`: most of one group. 1 means no average at all (MPJL)."""
    k3: Range | None = None
    """emcc: after the averaging, an image's encoding keeps only those images that are among its k3 nearest within
    their own group. Smaller drops more: hard negatives (similar strangers), but also true matches that are far away.
    Larger keeps both. At least k2, so raise it with k2. camera_quota and the reading `window`: nearest images over all
    groups from which the averaged ones are taken; no more than k1 where that counts all images too."""
    k1_intra: Range | None = None
    """camera_aware: `k1` among images of the same camera."""
    k1_inter: Range | None = None
    """camera_aware: `k1` among images of other cameras."""
    k2_intra: Range | None = None
    """camera_aware: `k2` among images of the same camera."""
    k2_inter: Range | None = None
    """camera_aware: `k2` among images of other cameras."""
    backend: SearchBackend = "auto"
    """What proposes neighbours; the result does not depend on it. `tiles`: matrix products on the CPU. `torch`: on a
    GPU where there is one. `faiss`: its flat index. `auto`: torch where a GPU is worth it, else tiles."""
    centring: Centring = "none"
    """Subtract the mean embedding of each group of images, and normalise again, before neighbours are searched: of each
    `camera` (of a modality), of each `modality`, or `none`. Takes away what all images of a camera share; where cameras
    see different people, it takes away some of the people too."""

    def __post_init__(self) -> None:
        """Fills in what the preset has a default for; unknown presets are the clustering's to refuse.

        Raises:
            ValueError: a number that the preset does not use, or k3 below k2.
        """
        defaults = self._defaults()
        if defaults is None:
            return
        foreign = [name for name in _OPTIONAL if getattr(self, name) is not None and name not in defaults]
        if foreign:
            raise ValueError(f"preset {self.preset} does not use {', '.join(foreign)}; leave it out or set it to null")
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)  # the dataclass is frozen for everybody else
        if self.preset == "emcc" and self.k3 is not None and self.k2 is not None and self.k3 < self.k2:
            raise ValueError(f"k3 ({self.k3}) must be at least k2 ({self.k2}); raise k3 too")

    def _defaults(self) -> Mapping[str, int | str | None] | None:
        """The preset's defaults; None for an unknown preset."""
        defaults = PRESET_DEFAULTS.get(self.preset)
        if defaults is None or self.preset != "emcc" or self.reading != "window":
            return defaults
        window = {name: k for name, k in WINDOW_DEFAULTS.items() if name != "k1" or self.reciprocal != "groups"}
        return {**defaults, **window}


@dataclass(frozen=True)
class SelectionParameters:
    """Selection of instances: pairs of images of both modalities that are mutually near (docs/method.md, "Losses")."""

    __pydantic_config__: ClassVar = CHECKED

    num_neighbors: Annotated[int, Ge(1), Le(100)] = 3
    """Images of the other modality that count as near, in both directions. More selects more pairs, and worse ones."""
    max_distance: Annotated[float, Gt(0), Lt(1)] = 0.7
    """Largest Jaccard distance of a selected pair. Larger selects more pairs, and worse ones."""


@dataclass(frozen=True)
class LinkParameters:
    """What makes the united clusters (docs/method.md, "Links by transport")."""

    __pydantic_config__: ClassVar = CHECKED

    method: Links = "neighbours"
    """`neighbours`: DBSCAN on the united distances, of images. `transport`: the clusters inside the modalities, joined
    by optimal transport between their means; the united distances then serve the selection alone. It links more people
    while embeddings are young, and needs clusters inside the modalities that are mostly pure (docs/log.md). In rare
    cases one of its links differs between machines."""
    temperature: Annotated[float, Ge(0.01), Le(1)] = 0.05
    """transport: weight of the entropy. Larger spreads a cluster's mass over more clusters, and links fewer."""
    share: Annotated[float, Gt(0), Le(1)] = 0.25
    """transport: share of its mass that each of two clusters must give the other. Smaller makes more links, and worse
    ones; at .15 chains of links joined strangers."""
