"""A sweep in an experiment tracker: every trial under the sweep's group, and the sweep itself as one run."""

import logging

from optuna.trial import FrozenTrial

from cluster.tracking.background import Background
from cluster.tracking.interface import is_tracked, open_log
from cluster.tracking.wandb_run import wandb_mode
from ecul.settings import config_tree
from tune.report.markdown import trials_columns, trials_rows
from tune.results import Report
from tune.space.build import trial_config
from tune.study.store import trial_key
from tune.sweep import Plan
from tune.trials.tracking import tracked

log = logging.getLogger(__name__)
_CLOSE_SECONDS = 120.0


class SweepTracker:
    """Sends each closed `features` trial; `full` trials report themselves while they train."""

    def __init__(self, plan: Plan) -> None:
        """Takes the sweep's plan, whose `tracker` may be `none`."""
        self._plan = plan
        self._tracker = plan.sweep.tracker
        self._background = Background(log.warning) if is_tracked(self._tracker) else None

    def trial_closed(self, trial: FrozenTrial) -> None:
        """Sends a closed trial; returns at once."""
        if self._background is not None and self._plan.sweep.fidelity == "features":
            self._background.submit(lambda: self._send(trial))

    def summarise(self, report: Report) -> None:
        """Sends the sweep itself as one run: table of trials, pictures, the best trial's figures; returns at once."""
        if self._background is not None:
            self._background.submit(lambda: self._send_sweep(report))

    def close(self) -> None:
        """Waits for what is still to be sent, but not for long."""
        if self._background is None:
            return
        self._background.close(_CLOSE_SECONDS)
        if self._tracker.startswith("wandb") and wandb_mode() == "offline":
            log.info("W&B was offline; upload later with: wandb sync %s/wandb/offline-run-*", self._plan.folder)

    def _send(self, trial: FrozenTrial) -> None:
        values = trial.user_attrs.get("values", {})
        config = config_tree(trial_config(self._plan.base, values))
        opened = open_log(
            self._tracker, tracked(self._plan.folder, trial_key(trial), "trial", {**config, "values": values})
        )
        figures = trial.user_attrs.get("metrics", {})
        if figures:
            opened.log(figures, step=0)
        opened.summary({**figures, "state": trial.state.name, "error": trial.user_attrs.get("error", "")})
        opened.finish()

    def _send_sweep(self, report: Report) -> None:
        opened = open_log(self._tracker, tracked(self._plan.folder, "sweep", "sweep", self._plan.sweep.model_dump()))
        rows = trials_rows(report.findings, report.findings.rows)
        opened.table("trials", trials_columns(report.findings), rows)
        for picture in report.pictures:
            opened.image(picture.stem, picture.read_bytes())
        if report.findings.ranked:
            best = report.findings.ranked[0]
            opened.summary(
                {"best_trial": best.number, **{f"best/{k}": v for k, v in {**best.values, **best.metrics}.items()}}
            )
        opened.finish()
