"""What a sweep has to know of the configuration tree. No other module of `tune` names its sections.

`ROLES` says for each setting whether it may be searched, whether the `features` fidelity can tell its values apart,
and from which training stage on it acts. The configuration itself (`ecul.config`) knows nothing of searches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ecul.config import Config
from ecul.parameters import ClusteringParameters

UNITED = "clustering.united"
INTRA = "clustering.intra"
K2, K3 = f"{UNITED}.k2", f"{UNITED}.k3"


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a setting is to a search.

    Attributes:
        searchable: False for settings that decide how trials are scored, or where and how they run.
        in_features: whether the clustering of a saved feature bank depends on it, so that a trial of the `features`
            fidelity can tell its values apart.
        first_stage: first training stage that it can change (0, 1 or 2); 0 where that is not known.
        is_switch: an epoch at which a rule changes. Only epochs of the stages in which it acts are worth a trial.
        is_length: a number of epochs, which decides how long a trial trains.
    """

    searchable: bool = True
    in_features: bool = False
    first_stage: int = 0
    is_switch: bool = False
    is_length: bool = False


_FIXED = Role(searchable=False)
ROLES: Mapping[str, Role] = {
    "data.root": _FIXED,
    "data.layout": _FIXED,
    "data.trial": _FIXED,
    "data.hold_out_validation": _FIXED,
    "evaluation": _FIXED,
    "warm_start": _FIXED,
    "oracle": _FIXED,
    "stages.bootstrap": Role(is_length=True),
    "stages.intra": Role(is_length=True),
    "stages.blend": Role(is_length=True),
    "stages.united": Role(is_length=True),
    "runtime": _FIXED,
    "clustering.num_threads": _FIXED,
    UNITED: Role(in_features=True, first_stage=2),
    f"{UNITED}.schedule": Role(first_stage=2),
    "clustering.selection": Role(first_stage=2),
    INTRA: Role(in_features=True, first_stage=1),
    f"{INTRA}.schedule": Role(first_stage=1),
    f"{INTRA}.schedule.united": Role(first_stage=2),
    "memory.united": Role(first_stage=2),
    "memory.united.switch_epoch": Role(first_stage=2, is_switch=True),
    "memory.intra.switch_epoch": Role(first_stage=1, is_switch=True),
    "memory.instances.switch_epoch": Role(first_stage=1, is_switch=True),
    "memory.united_means": Role(first_stage=2),
    "batch.united": Role(first_stage=2),
    "batch.united_fraction": Role(first_stage=2),
    "loss.united_weight": Role(first_stage=2),
    "loss.instance_weight": Role(first_stage=2),
    "loss.bank.united_weight": Role(first_stage=2),
}
"""{setting, or section with all its settings: its role}; the longest entry counts, and a setting without one may be
searched at fidelity `full`."""


def role_of(path: str) -> Role:
    """Returns the role of a setting, by its dotted path."""
    parts = path.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((ROLES[section] for section in above if section in ROLES), Role())


def is_intra_clustering(path: str) -> bool:
    """Returns whether a setting is of the clustering inside one modality."""
    return path.startswith(f"{INTRA}.")


def united_parameters(config: Config) -> ClusteringParameters:
    """Returns the numbers of the united clustering, over both modalities."""
    return config.clustering.united


def intra_parameters(config: Config) -> ClusteringParameters:
    """Returns the numbers of the clustering inside one modality."""
    return config.clustering.intra


def label_of(path: str) -> str:
    """Returns a setting's short name for pictures, without the section that most of them share."""
    return path.removeprefix("clustering.united.").removeprefix("clustering.").removeprefix("memory.")
