"""A training and a sweep side by side, while processes and nodes are killed. `pytest -m soak -s tests/soak`.

SOAK_KILLS and SOAK_SEED in the environment say how many kills there are, and of which seed. The table at the end is
for docs/cluster.md.
"""

import json
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from optuna.trial import TrialState

from cluster.storage import SNAPSHOT_FILE
from ecul.config import Config
from ecul.engine.run_directory import read_records
from ecul.settings import config_tree
from tests.cluster.tracking.wandb_files import records
from tests.soak.conftest import NODE, Soaked
from tests.soak.jobs import Job, sweep_job, train_job
from tests.soak.kills import Kill, Killer, plan
from tests.soak.leftovers import Traces, descendants, left_in_ray
from tests.with_ray.runs import assert_same_run, events
from tune.study.store import own_trials, read_study, trial_key
from tune.trials.training import MOST_LOSSES

MOST_SECONDS = 2400
_EPOCHS = int(os.environ.get("SOAK_EPOCHS", "40"))
_TRIALS = int(os.environ.get("SOAK_TRIALS", "6"))
_TRIAL_EPOCHS = 4
_DYING_S = 1.0


@pytest.mark.timeout(MOST_SECONDS + 300)
@pytest.mark.parametrize("batch_norm", ["frozen", "local"])
def test_nothing_is_lost_whatever_is_killed(
    soaked: Soaked, tiny_config: Callable[..., Config], seed: int, num_kills: int, batch_norm: str
) -> None:
    print(f"\nSOAK_SEED={seed} SOAK_KILLS={num_kills}, batch_norm={batch_norm}")
    training, reference = trainings(soaked, tiny_config, batch_norm)
    run_undisturbed(reference)
    sweep = a_sweep(soaked, tiny_config)
    kills = plan(num_kills, seed)
    disturb(soaked, {"training": training, "sweep": sweep}, kills, seed)
    assert all(kill.when for kill in kills), [kill for kill in kills if not kill.when]
    check_training(training, reference, kills)
    print(table(kills))
    check_study(sweep.folder)
    check_tracking(training.folder, sweep.folder)
    assert left_in_ray() == []
    check_leftovers(soaked)


def trainings(soaked: Soaked, tiny_config: Callable[..., Config], batch_norm: str) -> tuple[Job, Job]:
    """The training that will be disturbed, and the same one that will not."""
    config = tiny_config({"model.batch_norm": batch_norm, "stages.united": _EPOCHS - 1, "stages.iterations": 8})
    file = soaked.root / "config.yaml"
    file.write_text(yaml.safe_dump(config_tree(config)))
    jobs = [train_job(soaked.root, soaked.handle.address, file, soaked.environment, name=name) for name in ("a", "b")]
    return jobs[0], jobs[1]


def a_sweep(soaked: Soaked, tiny_config: Callable[..., Config]) -> Job:
    """A sweep of whole trainings."""
    config = tiny_config({"evaluation.every": 1, "stages.united": _TRIAL_EPOCHS - 1, "stages.iterations": 8})
    base, cluster, file = (soaked.root / f"{name}.yaml" for name in ("base", "cluster", "sweep"))
    base.write_text(yaml.safe_dump(config_tree(config)))
    cluster.write_text("{cpu: true, clustering: {borrow: false}, max_failures: -1, start_timeout_s: 20}")
    tree = {
        "base": str(base),
        "fidelity": "full",
        "space": {"clustering.united.eps": {"float": [0.3, 0.8]}, "optim.learning_rate": {"float": [1e-4, 1e-3]}},
        "objectives": {"full": [{"metric": "validation_map"}]},
        "full": {"cluster": str(cluster), "grace_epochs": 2},
        "trials": _TRIALS,
        "tracker": "wandb",
    }
    file.write_text(yaml.safe_dump(tree))
    return sweep_job(soaked.root, soaked.handle.address, file, soaked.environment, name="s")


def run_undisturbed(job: Job) -> None:
    """Runs a job to its end, at its first start."""
    deadline = time.monotonic() + MOST_SECONDS / 4
    while not job.supervise():
        assert time.monotonic() < deadline, f"{job.name} did not end"
        time.sleep(0.2)
    assert job.starts == 1


def disturb(soaked: Soaked, jobs: dict[str, Job], kills: list[Kill], seed: int) -> None:
    """Runs the jobs to their ends and kills meanwhile."""
    killer = Killer(soaked.handle, NODE, random.Random(seed))
    waiting = {name: [kill for kill in kills if kill.job == name] for name in jobs}
    watches = {name: Watch(job) for name, job in jobs.items()}
    deadline = time.monotonic() + MOST_SECONDS
    running = set(jobs)
    while running:
        assert time.monotonic() < deadline, {name: (watch.share, waiting[name]) for name, watch in watches.items()}
        running -= {name for name in running if jobs[name].supervise()}
        killer.bring_back()
        for name in sorted(running):
            watches[name].look()
            if waiting[name] and watches[name].is_due(waiting[name][0]):
                kill = waiting[name][0]
                watches[name].before(kill)
                if killer.hit(kill, jobs[name], soaked.root / f"cut-{jobs[name].name}"):
                    watches[name].after(waiting[name].pop(0))
        time.sleep(0.02)
    killer.bring_back(all_now=True)


class Watch:
    """Progress of a job, and how long it takes to go on after a kill."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._epochs = job.epochs()
        self._due: float | None = None
        self._open: list[Kill] = []

    @property
    def share(self) -> float:
        """Share of the job's epochs that are recorded."""
        runs = sorted(self._epochs)
        if not (self._job.folder / "sweep.yaml").exists():
            return max(0.0, self._epochs.get(self._job.name, 0)) / _EPOCHS
        # the trials run one after the other, so all but the last have ended
        return (max(0, len(runs) - 1) + max(0.0, self._epochs[runs[-1]]) / _TRIAL_EPOCHS) / _TRIALS if runs else 0.0

    def look(self) -> None:
        """Notes whether another epoch was recorded."""
        now = self._job.epochs()
        if any(epoch > self._epochs.get(name, -1) for name, epoch in now.items()):
            for kill in [kill for kill in self._open if self._is_back(kill)]:
                kill.back_s = time.time() - kill.when
                self._open.remove(kill)
        self._epochs = now

    def _is_back(self, kill: Kill) -> bool:
        """Whether an epoch that is recorded now is one after the kill, and none that the dying had just ended."""
        of_driver = kill.kind in ("driver", "journal's writer")
        return self._job.starts > kill.starts if of_driver else time.time() > kill.when + _DYING_S

    def is_due(self, kill: Kill) -> bool:
        """Whether the kill's place is reached and its delay is over."""
        if self.share < kill.at:
            return False
        if self._due is None:
            self._due = time.monotonic() + kill.delay_s
        return time.monotonic() >= self._due

    def before(self, kill: Kill) -> None:
        """Notes what a kill must not cost."""
        kill.known = newest_known(self._job.folder)
        kill.epoch = max(self._epochs.values(), default=0)

    def after(self, kill: Kill) -> None:
        """Notes that it has happened."""
        kill.when = time.time()
        kill.starts = self._job.starts
        self._open.append(kill)
        self._due = None
        print(f"{kill.job}, epoch {kill.epoch:g}: {kill.kind} ({kill.note})", flush=True)


def newest_known(folder: Path) -> float:
    """Epoch of the newest checkpoint on Ray Train's list; 0 without one."""
    try:
        listed = json.loads((folder / SNAPSHOT_FILE).read_text())["checkpoint_results"]
    except (OSError, ValueError):
        return 0
    return max((int(entry["checkpoint_dir_name"][-4:]) for entry in listed), default=0)


def check_training(training: Job, reference: Job, kills: list[Kill]) -> None:
    """The training has the bits of the undisturbed one, and no start forgot a checkpoint."""
    assert_same_run(training.folder, reference.folder)
    assert [record["epoch"] for record in read_records(training.folder)] == list(range(1, _EPOCHS + 1))
    starts = [event for event in events(training.folder) if event["event"] == "training"]
    print(f"training: {len(starts)} starts, after epochs {[start['after_epoch'] for start in starts]}")
    for kill in kills:
        later = [start["after_epoch"] for start in starts if happened(start) > kill.when]
        if kill.job == "training" and later:
            assert later[0] >= kill.known, (kill, later)
            kill.repeated = kill.epoch - later[0]


def happened(event: dict[str, Any]) -> float:
    """Seconds since 1970 of an event of a run."""
    return datetime.fromisoformat(event["time"]).timestamp()


def check_study(folder: Path) -> None:
    """Every trial is in the study once; only one that was lost again and again may have failed."""
    trials = own_trials(read_study(folder, "journal"))
    keys = [trial_key(trial) for trial in trials]
    assert len(keys) == len(set(keys)) == _TRIALS, keys
    states = Counter(trial.state.name for trial in trials)
    print(f"sweep: {dict(states)}; losses {[trial.user_attrs.get('losses', 0) for trial in trials]}")
    for trial in trials:
        assert trial.state != TrialState.FAIL or trial.user_attrs["losses"] >= MOST_LOSSES, trial.user_attrs
    values = [json.dumps(trial.user_attrs["values"], sort_keys=True) for trial in trials]
    assert len(set(values)) == _TRIALS, "two trials have the same values"


def check_tracking(training: Path, sweep: Path) -> None:
    """W&B's own reader reads what every attempt has left, and all epochs of the training are in it."""
    files = [*training.glob("wandb/offline-run-*/run-*.wandb"), *sweep.glob("wandb/offline-run-*/run-*.wandb")]
    assert files
    epochs: set[int] = set()
    for file in files:
        found = records(file)
        rows = [record["history"]["item"] for record in found if record["type"] == "history"]
        if training in file.parents:
            epochs |= {int(row["epoch"]) for row in rows if "epoch" in row}
    assert epochs == set(range(1, _EPOCHS + 1))
    print(f"W&B: {len(files)} offline runs read")


def check_leftovers(soaked: Soaked) -> None:
    """The cluster ends, and nothing of it is left."""
    ray.shutdown()
    soaked.handle.shutdown()
    deadline = time.monotonic() + 30
    while (left := descendants()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == {}
    since = Traces.now(soaked.temporary).since(soaked.before)
    assert not any(since.values()), since
    scraps = [path for path in soaked.root.rglob("*") if path.suffix in (".partial", ".lock", ".rename")]
    assert [path for path in scraps if path.name != ".lock"] == []


def table(kills: list[Kill]) -> str:
    """The kills by kind, as Markdown."""
    lines = [
        "| killed | of the | times | seconds until the next epoch: median (most) | epochs repeated: most |",
        "|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Kill]] = {}
    for kill in kills:
        groups.setdefault((kill.kind, kill.job), []).append(kill)
    for (kind, job), members in sorted(groups.items()):
        seconds = [kill.back_s for kill in members if kill.back_s is not None]
        shown = f"{statistics.median(seconds):.0f} ({max(seconds):.0f})" if seconds else "it had ended"
        repeated = max(kill.repeated for kill in members) if job == "training" else "-"
        lines.append(f"| {kind} | {job} | {len(members)} | {shown} | {repeated} |")
    return "\n".join(lines)
