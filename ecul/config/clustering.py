"""Settings of the pseudo-labels."""

from pydantic import Field

from ecul.parameters import LinkParameters, SelectionParameters
from ecul.schedules import IntraParameters, UnitedParameters
from ecul.schema import Strict


class ClusteringConfig(Strict):
    """How an epoch's features become pseudo-labels (docs/method.md, "EMCC")."""

    united: UnitedParameters = UnitedParameters()
    """Over both modalities together."""
    intra: IntraParameters = IntraParameters()
    """Inside each modality."""
    links: LinkParameters = LinkParameters()
    """What makes the united clusters."""
    selection: SelectionParameters = SelectionParameters()
    """Selection of instances for the instance-level loss."""
    num_threads: int | None = Field(None, ge=1)
    """Threads of the clustering; null = all processors. Over Ray, null = what the cluster configuration says; if both
    set a number, it must be the same."""
