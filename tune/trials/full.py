"""A trial of the `full` fidelity: a whole training, as a Ray Train run that reports each evaluated epoch."""

import logging
from dataclasses import dataclass
from typing import Any

import ray
import ray.tune

from cluster.storage import RunFolder
from ecul.config import Config
from ecul.errors import EculError, TrainingError
from ecul.settings import config_tree
from tune.objectives import recorded_metrics
from tune.trials.follow import TimeIsUpError, follow, wait_for
from tune.trials.result import trial_result
from tune.trials.settings import trial_config
from tune.trials.tracking import TrialTracker
from tune.trials.training import STOP_SECONDS, TrainingSettings, start_training

log = logging.getLogger(__name__)
TRAINED_EPOCHS = "trained_epochs"
"""Key of a result: epochs since the trial's first one, by which the scheduler compares trials."""


@dataclass(frozen=True, kw_only=True)
class FullSettings:
    """What all trials of a `full` sweep share.

    Attributes:
        training: what their trainings share.
        base: configuration that trials change.
        objectives: names of the metrics; an epoch without one of them is not reported.
        first_epoch: the epoch of the warm start, 0 without one.
        trial_hours: longest training of a trial; None for no limit.
    """

    training: TrainingSettings
    base: Config
    objectives: tuple[str, ...]
    first_epoch: int = 0
    trial_hours: float | None = None


class FullTrial(ray.tune.Trainable):
    """Trains with a trial's values in a Ray Train run; a step is an evaluated epoch.

    A trial with the key of an earlier one continues from the run's newest checkpoint. It reports the epochs before it
    again, so that the scheduler knows them. The last epoch is reported when the run has ended and freed its workers.
    """

    def setup(self, config: dict[str, Any], settings: FullSettings | None = None) -> None:
        """Starts the training.

        Args:
            config: `values`, {configuration path: value}, and `key`, the run's name.
            settings: what all trials share.
        """
        assert settings is not None
        self._settings = settings
        self._key = config["key"]
        training = trial_config(settings.base, config["values"])
        self._num_epochs = training.num_epochs
        folder = RunFolder(settings.training.storage, self._key)
        self._tracker = TrialTracker(
            settings.training.tracker, folder, {**config_tree(training), "values": config["values"]}
        )
        self._work = start_training(training, self._key, settings.training)
        hours = settings.trial_hours
        self._records = follow(folder, self._work, seconds=None if hours is None else hours * 3600)
        self._newest: dict[str, Any] | None = None

    def step(self) -> dict[str, Any]:
        """Returns the next evaluated epoch's result.

        Raises:
            EculError: what the training raised, its last epoch lacks an objective, or its time was up before the first
                evaluated epoch.
        """
        try:
            self._newest = self._next_result()
            return self._newest
        except TimeIsUpError:
            return self._cut_off()
        except EculError as error:
            self._tracker.close("failed", error=str(error))
            raise

    def _cut_off(self) -> dict[str, Any]:
        """Returns the newest result again, as the last one, once the training has ended."""
        text = f"full.trial_hours={self._settings.trial_hours:g} are over"
        if self._newest is None:
            self._tracker.close("failed", error=f"{text} before an epoch was evaluated")
            raise TrainingError(f"{text} before an epoch was evaluated")
        log.warning("trial %s: %s", self._key, text)
        self.cleanup()
        return self._newest | {"done": True}

    def cleanup(self) -> None:
        """Ends the training of a trial that was stopped early, and waits until its workers are free."""
        if not ray.wait([self._work], timeout=0)[0]:
            # recursive, it would cancel Train's calls of its workers as well, and Train would start them again
            ray.cancel(self._work, recursive=False)
            ray.wait([self._work], timeout=STOP_SECONDS)
        self._tracker.close("stopped early")

    def _next_result(self) -> dict[str, Any]:
        first = self._settings.first_epoch
        for record in self._records:
            epoch = int(record["epoch"])
            metrics = recorded_metrics(record)
            self._tracker.epoch(record)
            # the record of the warm start's own epoch is not the trial's
            if epoch > first and all(name in metrics for name in self._settings.objectives):
                finished = epoch == self._num_epochs
                if finished:
                    wait_for(self._work)
                    self._tracker.close("complete")
                place = {"epoch": epoch, TRAINED_EPOCHS: epoch - first, "done": finished}
                return trial_result(metrics, finished=finished) | place
        raise TrainingError(f"run {self._key}: the last epoch has no {' or '.join(self._settings.objectives)}")

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Does nothing: the run has its own checkpoints."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Does nothing: a trial continues by its key."""
