"""Whether weights may be scored on the validation people: only if they were never trained on them."""

from pathlib import Path

from ecul.config import Config
from ecul.errors import ConfigError


def trained_without_validation_people(run: str | Path) -> bool:
    """Returns whether a run, and every run that it was warm-started from, trained without the validation people.

    Raises:
        CheckpointError: one of the runs cannot be read.
        ConfigError: one of them trained on true labels.
    """
    from ecul.engine.checkpoints import open_run  # with torch, which a sweep over a saved bank does not need

    source: str | Path | None = run
    while source is not None:
        config, _ = open_run(source)
        refuse_oracle(config, source)
        if not config.data.hold_out_validation:
            return False
        source = config.warm_start
    return True


def refuse_oracle(config: Config, source: str | Path) -> None:
    """Checks that a run was not told true labels.

    Raises:
        ConfigError: it was.
    """
    if config.oracle is not None:
        raise ConfigError(f"{source} trained on true labels (oracle={config.oracle}); no search may use it")


def check_warm_start(run: str) -> None:
    """Checks that trials which begin from a run can be scored on the validation people.

    Raises:
        ConfigError: the run trained on them.
        CheckpointError: it cannot be read.
    """
    if not trained_without_validation_people(run):
        raise ConfigError(
            f"warm_start {run} was trained on the validation people, so validation objectives would be too good; train "
            "stage 1 again with --set data.hold_out_validation=true"
        )
