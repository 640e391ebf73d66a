"""Clusterings whose numbers move from epoch to epoch: functions of the epoch within its stage, and of nothing else.

So a resumed run goes on with the numbers that it would have had.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Le

from ecul.parameters import CHECKED, PRESET_DEFAULTS, ClusteringParameters, Eps, Preset, Range

Epochs = Annotated[int, Ge(1), Le(10_000)]
Shape = Literal["linear", "geometric"]
_DECIMALS = 6
"""Powers differ in their last bits between machines; so many decimals are the same on all of them."""


@dataclass(frozen=True)
class Move:
    """How a number moves within a stage: from `first`, by way of `turn` if there is one, to `last`, where it stays.

    Without `first` it does not move.

    Raises:
        ValueError: a turn without a first value, one that comes too late, or an unknown shape.
    """

    __pydantic_config__: ClassVar = CHECKED

    first: float | None = None
    """Value in the first epoch of the stage. Null: the number does not move, but is `last` all the time."""
    turn: float | None = None
    """Value on the way, such as the lowest eps of a V. Null: straight to `last`."""
    turn_epochs: Epochs = 10
    """Epochs from the first one to the one that has the value `turn`; fewer than `epochs`."""
    last: float | None = None
    """Value at the end. Null: the setting of the same name, such as `eps`."""
    epochs: Epochs = 20
    """Epochs from the first one to the one that has the value `last`. Also where a resumed run makes the stage longer,
    the epochs before keep their numbers."""
    shape: Shape = "linear"
    """Equal steps (`linear`) or equal ratios (`geometric`, MPJL) between these values. Ranges are rounded to whole
    numbers."""

    def __post_init__(self) -> None:
        """Refuses moves that have no meaning."""
        if self.shape not in get_args(Shape):
            raise ValueError(f"shape is {self.shape!r}, expected one of {', '.join(get_args(Shape))}")
        if self.turn is not None and self.first is None:
            raise ValueError(f"turn is {self.turn}, but first is null: set first too")
        if self.turn is not None and self.turn_epochs >= self.epochs:
            raise ValueError(f"turn_epochs ({self.turn_epochs}) must be below epochs ({self.epochs})")

    @property
    def is_set(self) -> bool:
        """Whether it says anything."""
        return self.first is not None or self.last is not None

    @property
    def ends(self) -> int:
        """First epoch of the stage, counted from 1, from which on the value stays."""
        return 1 if self.first is None else self.epochs + 1

    def at(self, stage_epoch: int, otherwise: float) -> float:
        """Returns the value of one epoch.

        Args:
            stage_epoch: epoch of the stage, counted from 1.
            otherwise: the setting of the same name, for a `last` that is null.
        """
        last = otherwise if self.last is None else self.last
        done = stage_epoch - 1
        if self.first is None or done >= self.epochs:
            return last
        if self.turn is None:
            return self._between(self.first, last, done, self.epochs)
        if done < self.turn_epochs:
            return self._between(self.first, self.turn, done, self.turn_epochs)
        return self._between(self.turn, last, done - self.turn_epochs, self.epochs - self.turn_epochs)

    def _between(self, start: float, end: float, done: int, epochs: int) -> float:
        if self.shape == "linear":
            return start + (end - start) * done / epochs
        return max(round(start * (end / start) ** (done / epochs), _DECIMALS), 10**-_DECIMALS)


@dataclass(frozen=True)
class EpsMove(Move):
    """How `eps` moves within a stage: from `first`, by way of `turn` if there is one, to `last`, where it stays.

    A small start links only sure pairs while the embedding is young. MPJL's eps has the form of a V: it is strict in
    the middle of a stage.
    """

    __pydantic_config__: ClassVar = CHECKED

    first: Eps | None = None
    turn: Eps | None = None
    last: Eps | None = None


@dataclass(frozen=True)
class RangeMove(Move):
    """How a range moves within a stage, as `eps` does."""

    __pydantic_config__: ClassVar = CHECKED

    first: Range | None = None
    turn: Range | None = None
    last: Range | None = None

    def at(self, stage_epoch: int, otherwise: float) -> int:
        """As of a move, rounded to a whole number, half to even."""
        return round(super().at(stage_epoch, otherwise))


@dataclass(frozen=True)
class ClusteringSchedule:
    """How the numbers of a clustering move within a stage."""

    __pydantic_config__: ClassVar = CHECKED

    eps: EpsMove = EpsMove()
    """Of `eps`."""
    k1: RangeMove = RangeMove()
    """Of `k1`."""
    k2: RangeMove = RangeMove()
    """Of `k2`."""
    k3: RangeMove = RangeMove()
    """Of `k3`."""

    def moves(self) -> dict[str, Move]:
        """The moves that say anything, by the number's name."""
        every: dict[str, Move] = {"eps": self.eps, "k1": self.k1, "k2": self.k2, "k3": self.k3}
        return {name: move for name, move in every.items() if move.is_set}

    @property
    def ends(self) -> int:
        """First epoch of the stage, counted from 1, from which on all numbers stay."""
        return max((move.ends for move in self.moves().values()), default=1)


def scheduled(parameters: ClusteringParameters, schedule: ClusteringSchedule, stage_epoch: int) -> ClusteringParameters:
    """Returns the numbers of one epoch.

    Args:
        parameters: those that do not move, and the ends of moves that have none of their own.
        schedule: of the stage.
        stage_epoch: epoch of the stage, counted from 1.

    Raises:
        ValueError: numbers that do not go together in this epoch, or of which the preset does not know one.
    """
    values: dict[str, Any] = {item.name: getattr(parameters, item.name) for item in fields(ClusteringParameters)}
    for name, move in schedule.moves().items():
        if name != "eps" and name not in PRESET_DEFAULTS.get(parameters.preset, ()):
            raise ValueError(f"preset {parameters.preset} does not use {name}; leave schedule.{name} out")
        values[name] = move.at(stage_epoch, values[name])
    return ClusteringParameters(**values)


def _check_epochs(parameters: ClusteringParameters, schedule: ClusteringSchedule, where: str) -> None:
    """Makes sure that the numbers of every epoch go together.

    Raises:
        ValueError: they do not; names the first such epoch.
    """
    for stage_epoch in range(1, schedule.ends + 1) if schedule.moves() else ():
        try:
            scheduled(parameters, schedule, stage_epoch)
        except ValueError as error:
            raise ValueError(f"{where}, epoch {stage_epoch} of the stage: {error}") from None


@dataclass(frozen=True)
class StageSchedules:
    """How the numbers of the clustering inside each modality move: a schedule for each stage that has one.

    A stage without a schedule has the plain numbers.
    """

    __pydantic_config__: ClassVar = CHECKED

    intra: ClusteringSchedule = ClusteringSchedule()
    """In stage 1."""
    blend: ClusteringSchedule = ClusteringSchedule()
    """In the epochs of `stages.blend`."""
    united: ClusteringSchedule = ClusteringSchedule()
    """In stage 2."""


@dataclass(frozen=True)
class IntraParameters(ClusteringParameters):
    """The clustering inside each modality, in all stages but the first (0). Settings as in `clustering.united`.

    Numbers that the preset does not use must stay null.
    """

    __pydantic_config__: ClassVar = CHECKED

    preset: Preset = "kreciprocal"
    """As `clustering.united.preset`. Inside one modality the field's default is the plain k-reciprocal distance."""
    schedule: StageSchedules = StageSchedules()
    """How its numbers move within each stage."""

    def __post_init__(self) -> None:
        """Fills in defaults, and refuses numbers that do not go together in some epoch."""
        super().__post_init__()
        for stage in fields(StageSchedules):
            _check_epochs(self, getattr(self.schedule, stage.name), f"schedule.{stage.name}")

    def at(self, stage: str, stage_epoch: int) -> ClusteringParameters:
        """Returns the numbers of the n-th epoch, counted from 1, of stage `intra`, `blend` or `united`."""
        return scheduled(self, getattr(self.schedule, stage), stage_epoch)


@dataclass(frozen=True)
class UnitedParameters(ClusteringParameters):
    """The clustering over both modalities together, in stage 2.

    Numbers that the preset does not use must stay null.
    """

    __pydantic_config__: ClassVar = CHECKED

    schedule: ClusteringSchedule = ClusteringSchedule()
    """How its numbers move within stage 2."""

    def __post_init__(self) -> None:
        """Fills in defaults, and refuses numbers that do not go together in some epoch."""
        super().__post_init__()
        _check_epochs(self, self.schedule, "schedule")

    def at(self, stage_epoch: int) -> ClusteringParameters:
        """Returns the numbers of the n-th stage-2 epoch, counted from 1."""
        return scheduled(self, self.schedule, stage_epoch)
