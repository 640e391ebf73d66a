"""When the memory update changes from its first step to its second (ECUL, TSMem; docs/method.md)."""

from dataclasses import dataclass
from typing import get_args

from ecul.names import FirstRule


@dataclass(frozen=True)
class TwoStepSchedule:
    """Update rule and momentum of every epoch; epochs are counted from 1.

    Attributes:
        switch_epoch: first epoch of step two; 1 or less means that step one never happens.
        first_rule: rule of step one, which preserves diversity: `random`, `hard` or `instance`.
        first_momentum: weight of the old row in step one, in [0, 1].
        second_momentum: the same in step two, whose rule is always `mean`.

    Raises:
        ValueError: an unknown rule or a momentum outside [0, 1].
    """

    switch_epoch: int
    first_rule: str
    first_momentum: float
    second_momentum: float

    def __post_init__(self) -> None:
        """Refuses values that no update could use."""
        rules = get_args(FirstRule)
        if self.first_rule not in rules:
            raise ValueError(f"first_rule is {self.first_rule!r}, expected one of {', '.join(rules)}")
        for name in ("first_momentum", "second_momentum"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number in [0, 1]")

    def at(self, epoch: int) -> tuple[str, float]:
        """The rule and momentum of one epoch."""
        if epoch < self.switch_epoch:
            return self.first_rule, self.first_momentum
        return "mean", self.second_momentum
