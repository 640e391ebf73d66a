"""Numbers of the clusterings: settings of a run, and arguments of the stages, at once.

Frozen dataclasses, so that the stages depend on no settings library; `ecul.config` checks values against the
ranges in the annotations and takes the string under each field as its documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from ecul.names import SearchBackend

CHECKED = {"extra": "forbid", "use_attribute_docstrings": True}
"""How `ecul.config` reads such a dataclass: unknown keys are errors, and the strings under fields document them."""

Preset = Literal["emcc", "kreciprocal", "modality_balanced", "balanced_neighbours", "camera_aware"]
"""Neighbour distances; their recipes are in `ecul.clustering.presets`."""

PRESET_DEFAULTS: Mapping[str, Mapping[str, int | str]] = {
    "emcc": {"k1": 10, "k2": 4, "k3": 10, "groups": "modality_camera"},
    "kreciprocal": {"k1": 30, "k2": 6},
    "modality_balanced": {"k1": 40, "k2": 32},
    "balanced_neighbours": {"k1": 30, "k2": 6},
    "camera_aware": {"k1_intra": 5, "k1_inter": 20, "k2_intra": 2, "k2_inter": 4},
}
"""The numbers that each preset uses, with its defaults. A preset refuses numbers that are not named here.

docs/configuration.md takes the defaults from here; the strings under the fields do not repeat them.
"""

_OPTIONAL = ("groups", "k1", "k2", "k3", "k1_intra", "k1_inter", "k2_intra", "k2_inter")
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
    (`balanced_neighbours`) and CA-Jaccard (`camera_aware`)."""
    eps: Eps = 0.6
    """DBSCAN: largest Jaccard distance between neighbours. Larger makes fewer, larger clusters, merges strangers and
    leaves less noise. Public codes use 0.6 on SYSU-MM01 and 0.3 on RegDB; docs/log.md shows what 0.6 does to others."""
    min_samples: Range = 4
    """DBSCAN: images within `eps`, itself included, that make an image a core of a cluster. More leaves more noise.
    Public codes of this family use 4."""
    groups: Literal["modality_camera", "modality"] | None = None
    """emcc: inside which groups neighbours are counted. `modality_camera` gives each camera the same weight; `modality`
    suits datasets whose cameras see few people."""
    k1: Range | None = None
    """Nearest neighbours that may be reciprocal (emcc: in each group; else: in all). More link harder positives and
    more strangers."""
    k2: Range | None = None
    """Nearest neighbours whose encodings are averaged (emcc: in each group). More smooth more, and blur small
    clusters."""
    k3: Range | None = None
    """emcc: after the averaging, an image's encoding keeps only those images that are among its k3 nearest within
    their own group. Smaller drops more: hard negatives (similar strangers), but also true matches that are far away.
    Larger keeps both. At least k2, so raise it with k2."""
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

    def __post_init__(self) -> None:
        """Fills in what the preset has a default for; unknown presets are the clustering's to refuse.

        Raises:
            ValueError: a number that the preset does not use, or k3 below k2.
        """
        defaults = PRESET_DEFAULTS.get(self.preset)
        if defaults is None:
            return
        foreign = [name for name in _OPTIONAL if getattr(self, name) is not None and name not in defaults]
        if foreign:
            raise ValueError(f"preset {self.preset} does not use {', '.join(foreign)}; leave it out or set it to null")
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)  # the dataclass is frozen for everybody else
        if self.k3 is not None and self.k2 is not None and self.k3 < self.k2:
            raise ValueError(f"k3 ({self.k3}) must be at least k2 ({self.k2}); raise k3 too")


@dataclass(frozen=True)
class IntraParameters(ClusteringParameters):
    """The clustering inside each modality, in stages 1 and 2. Settings as in `clustering.united`, without curriculum.

    Numbers that the preset does not use must stay null.
    """

    __pydantic_config__: ClassVar = CHECKED

    preset: Preset = "kreciprocal"
    """As `clustering.united.preset`. Inside one modality the field's default is the plain k-reciprocal distance."""


@dataclass(frozen=True)
class UnitedParameters(ClusteringParameters):
    """The clustering over both modalities together, in stage 2, and its eps curriculum.

    Numbers that the preset does not use must stay null.
    """

    __pydantic_config__: ClassVar = CHECKED

    eps_start: Eps | None = None
    """`eps` of the first stage-2 epoch; it moves to `eps` in `eps_ramp_epochs` equal steps. Null: `eps` from the start.
    A small start links only sure pairs while the embedding is young."""
    eps_ramp_epochs: Annotated[int, Ge(0)] = 0
    """Stage-2 epochs until `eps` is reached; 0 = at once."""

    def at(self, stage_epoch: int) -> ClusteringParameters:
        """Returns the numbers of the n-th stage-2 epoch, counted from 1: those here, with the curriculum's eps."""
        values = {field.name: getattr(self, field.name) for field in fields(ClusteringParameters)}
        if self.eps_start is not None and stage_epoch <= self.eps_ramp_epochs:
            step = (self.eps - self.eps_start) * (stage_epoch - 1) / self.eps_ramp_epochs
            values["eps"] = self.eps_start + step
        return ClusteringParameters(**values)


@dataclass(frozen=True)
class SelectionParameters:
    """Selection of instances: pairs of images of both modalities that are mutually near (docs/method.md, "Losses")."""

    __pydantic_config__: ClassVar = CHECKED

    num_neighbors: Annotated[int, Ge(1), Le(100)] = 3
    """Images of the other modality that count as near, in both directions. More selects more pairs, and worse ones."""
    max_distance: Annotated[float, Gt(0), Lt(1)] = 0.7
    """Largest Jaccard distance of a selected pair. Larger selects more pairs, and worse ones."""
