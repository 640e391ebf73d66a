"""A sweep in an experiment tracker: every trial in the sweep's group, and the sweep itself as one run."""

import logging
import shlex
from typing import TYPE_CHECKING

from cluster.tracking.background import Background
from cluster.tracking.registry import is_tracked, open_log, tracker_settings
from cluster.tracking.wandb_run import wandb_mode
from ecul.settings import config_tree
from tune.plan import Plan
from tune.report.markdown import trials_columns, trials_rows
from tune.report.verdict import score_rows
from tune.study.record import TrialRow
from tune.trials.settings import trial_config
from tune.trials.tracking import tracked_run

if TYPE_CHECKING:
    from tune.report.write import Report

log = logging.getLogger(__name__)


class SweepTracker:
    """Sends each closed `features` trial; `full` trials report themselves while they train."""

    def __init__(self, plan: Plan) -> None:
        """Takes the sweep's plan, whose `tracker` may be `none`."""
        self._plan = plan
        self._tracker = tracker_settings(plan.sweep.tracker)
        self._background = Background(log.warning) if is_tracked(self._tracker) else None

    def trial_closed(self, row: TrialRow) -> None:
        """Sends a closed trial; returns at once."""
        if self._background is not None and self._plan.sweep.fidelity == "features":
            self._background.submit(lambda: self._send_trial(row))

    def summarise(self, report: "Report") -> None:
        """Sends the sweep itself as one run: table of trials, pictures, the best trial's metrics; returns at once.

        It is sent before the trials that still wait: of all runs it is the one to look at first.
        """
        if self._background is not None:
            self._background.submit(lambda: self._send_sweep(report), first=True)

    def close(self) -> None:
        """Waits until everything is sent, as long as it goes on."""
        if self._background is None:
            return
        self._background.close()
        if (
            self._tracker.kind.startswith("wandb")
            and wandb_mode(self._tracker.mode, self._tracker.base_url) == "offline"
        ):
            # One by one: a killed trial may leave an empty file, for which W&B would upload none of them.
            log.info(
                'W&B was offline; upload later with: for run in %s/wandb/offline-run-*; do wandb sync "$run"; done',
                shlex.quote(str(self._plan.folder)),
            )

    def _send_trial(self, row: TrialRow) -> None:
        config = {**config_tree(trial_config(self._plan.base, row.values)), "values": row.values}
        run = open_log(self._tracker, tracked_run(self._plan.folder, row.key, kind="trial", config=config))
        if row.metrics:
            run.log(row.metrics, step=0)
        run.summary({**row.metrics, "state": row.state, "error": row.error})
        run.finish()

    def _send_sweep(self, report: "Report") -> None:
        config, findings = self._plan.sweep.model_dump(), report.findings
        run = open_log(self._tracker, tracked_run(self._plan.folder, "sweep", kind="sweep", config=config))
        run.table("trials", trials_columns(findings), trials_rows(findings, findings.rows))
        for picture in report.pictures:
            run.image(picture.stem, picture.read_bytes())
        if report.page is not None:
            run.file(report.page.name, report.page.read_bytes())
        if findings.confirmed is not None:
            line = findings.confirmed.headline
            run.summary({"verdict": f"{line.short} ({line.numbers})"})
            if findings.confirmed.confirmation is not None:
                run.table("confirmation", *score_rows(findings.confirmed.confirmation))
        if findings.ranked:
            best = findings.ranked[0]
            named = {f"best/{name}": value for name, value in {**best.values, **best.metrics}.items()}
            run.summary({"best_trial": best.number, **named})
        run.finish()
