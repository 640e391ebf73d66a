"""Whether weights are fit to be judged on the validation people."""

from pathlib import Path

from ecul.engine.checkpoints import open_run
from ecul.errors import ConfigError


def held_people_out(run: str | Path) -> bool:
    """Whether a run, and every run that it was warm-started from, trained without the validation people.

    Raises:
        CheckpointError: one of the runs cannot be read.
    """
    source: str | Path | None = run
    while source is not None:
        config, _ = open_run(source)
        if not config.data.hold_out_validation:
            return False
        source = config.warm_start
    return True


def check_warm_start(run: str) -> None:
    """Makes sure that trials beginning from a run can be judged on the validation people.

    Raises:
        ConfigError: the run trained on them.
        CheckpointError: it cannot be read.
    """
    if not held_people_out(run):
        raise ConfigError(
            f"warm_start {run} was trained on the validation people, so validation objectives would flatter it; train "
            "stage 1 anew with --set data.hold_out_validation=true"
        )
