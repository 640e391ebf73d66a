"""Numbers of the memories: settings of a run, and arguments of the stages, at once (see `ecul.parameters`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt

from ecul.names import InitialRow, MemoryRule
from ecul.parameters import CHECKED

Momentum = Annotated[float, Ge(0), Le(1)]
SwitchEpoch = Annotated[int, Ge(0), Le(10_000)]


@dataclass(frozen=True)
class TwoStepSchedule:
    """TSMem for one kind of memory (docs/method.md, "TSMem"): initial rows, update rule and momentum of every epoch.

    Epochs are counted from 1 over the whole run.

    Raises:
        ValueError: an unknown rule or initial row, or a momentum outside [0, 1].
    """

    __pydantic_config__: ClassVar = CHECKED

    switch_epoch: SwitchEpoch
    """First epoch of step two, whose rule is the mean of the batch's instances; 1 or less = no step one, more than the
    run's epochs = no step two. Early generalises sooner, late keeps diversity longer."""
    first_rule: MemoryRule = "random"
    """What a row moves to in step one: one instance of its cluster in the batch (`random`, or `hard`: the least similar
    to the row), each of them in turn (`instance`) or their `mean`."""
    first_momentum: Momentum = 0.2
    """Weight of the old row in step one. Larger moves the memory less; 0 replaces the row. The public codes of this
    family use 0.1 to 0.2, MPJL 0."""
    second_momentum: Momentum = 0.2
    """Weight of the old row in step two."""
    second_rule: MemoryRule = "mean"
    """As `first_rule`, in step two. Another rule than `mean` gives up what the second step is for; MPJL does."""
    first_initial: InitialRow = "mean"
    """Rows at the start of an epoch of step one: the `mean` of the cluster's embeddings, or those of one `random`
    image, which keeps more diversity (MPJL on SYSU-MM01)."""
    second_initial: InitialRow = "mean"
    """The same in step two."""

    def __post_init__(self) -> None:
        """Refuses values that no update could use."""
        _check_rules(self, ("first_rule", "second_rule"), get_args(MemoryRule))
        _check_rules(self, ("first_initial", "second_initial"), get_args(InitialRow))
        _check_momenta(self)

    def at(self, epoch: int) -> tuple[str, float]:
        """The rule and momentum of one epoch."""
        if epoch < self.switch_epoch:
            return self.first_rule, self.first_momentum
        return self.second_rule, self.second_momentum

    def initial(self, epoch: int) -> InitialRow:
        """What the rows are at the start of one epoch."""
        return self.first_initial if epoch < self.switch_epoch else self.second_initial


@dataclass(frozen=True)
class InstanceSchedule:
    """The instance memory, one row for each training image: how it is filled, and TSMem for its rows.

    Epochs are counted from 1 over the whole run.

    Raises:
        ValueError: an unknown rule or a momentum outside [0, 1].
    """

    __pydantic_config__: ClassVar = CHECKED

    switch_epoch: SwitchEpoch = 1
    """As `memory.united.switch_epoch`. 1 or less = no step one."""
    first_rule: MemoryRule = "random"
    """What an image's row moves to in step one, of the embeddings that the image has in the batch: as
    `memory.united.first_rule`. A visible image has two or more."""
    first_momentum: Momentum | None = None
    """Weight of the old row in step one; null: `memory.united.second_momentum`."""
    second_momentum: Momentum | None = None
    """Weight of the old row in step two; null: `memory.united.second_momentum`."""
    second_rule: MemoryRule = "mean"
    """As `first_rule`, in step two."""
    filled: Literal["epoch", "stage"] = "epoch"
    """When the rows are set to the images' embeddings: before each `epoch`, or only before the first one of a `stage`
    (MPJL), which leaves rows of images that are not drawn behind. `stage` adds the memory to every checkpoint."""

    def __post_init__(self) -> None:
        """Refuses values that no update could use."""
        _check_rules(self, ("first_rule", "second_rule"), get_args(MemoryRule))
        _check_momenta(self)

    def at(self, epoch: int, *, otherwise: float) -> tuple[str, float]:
        """The rule and momentum of one epoch; `otherwise` stands for a momentum that is null."""
        first = epoch < self.switch_epoch
        momentum = self.first_momentum if first else self.second_momentum
        return self.first_rule if first else self.second_rule, otherwise if momentum is None else momentum


@dataclass(frozen=True)
class BlendParameters:
    """Blending of the memories of both modalities, once an epoch (docs/method.md, "Blending across the modalities").

    When it happens is `from_stage` and `from_epoch`; the rest says how.
    """

    __pydantic_config__: ClassVar = CHECKED

    from_stage: Literal["intra", "blend", "united"] | None = None
    """Stage from which on the memories are blended; null = never. A stage without epochs stands for the next one.
    Before the clusters are mostly pure it pulls strangers together."""
    from_epoch: Annotated[int, Ge(1), Le(10_000)] = 1
    """First epoch of that stage in which they are."""
    threshold: Annotated[float, Gt(-1), Lt(1)] = 0.5
    """Cosine similarity from which on an image counts for a cluster of the other modality. Larger blends fewer
    clusters, and surer ones. MPJL uses 0.5."""
    weight: Annotated[float, Ge(0), Lt(1)] = 0.4
    """Weight of a row's own part; the rest is the mean of the other modality's images. MPJL uses 0.4."""
    one_to_one: bool = False
    """Each cluster blends into a row of its own, so that the sum of the scores is largest; false: each into its best
    row, where several may meet (MPJL)."""


def _check_rules(record: object, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if getattr(record, name) not in known:
            raise ValueError(f"{name} is {getattr(record, name)!r}, expected one of {', '.join(known)}")


def _check_momenta(record: TwoStepSchedule | InstanceSchedule) -> None:
    for name in ("first_momentum", "second_momentum"):
        value = getattr(record, name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}, expected a number in [0, 1]")
