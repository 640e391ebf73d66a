"""What a sweep of the features fidelity costs beside its clusterings: start-up, seconds a trial, two trials at once.

pytest -m bench -s tests/with_ray/test_sweep_bench.py. On a machine with other work, look at the processor seconds and
at the ratios, not at the seconds.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from ecul.config import Config
from ecul.settings import config_tree
from tests.tune.conftest import simulated_bank, sweep_tree
from tune.study.record import SECONDS
from tune.study.store import own_trials, read_study
from tune.trials.bank import save_bank

pytestmark = pytest.mark.bench
TRIALS = 100
MOST_OVERHEAD_SECONDS = 0.05
MOST_START_SECONDS = 15.0
LEAST_EFFICIENCY = 0.8
SPACE = {
    "clustering.united.k1": {"int": [4, 24]},
    "clustering.united.k2": {"int": [2, 16]},
    "clustering.united.k3": {"int": [4, 40]},
    "clustering.united.eps": {"float": [0.3, 0.7]},
}


@dataclass(frozen=True)
class Cost:
    """Of a sweep.

    Attributes:
        start: seconds from the command to the first trial.
        span: seconds from the first trial's start to the last one's end.
        work: seconds in which trials cluster and score, all trials together.
        processor: processor seconds of the driver, of Ray's own processes, of the trials' processes.
    """

    start: float
    span: float
    work: float
    processor: dict[str, float]

    def text(self) -> str:
        """One line."""
        used = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.processor.items())
        return f"start {self.start:.1f} s, trials {self.span:.1f} s, of it work {self.work:.1f} s; processor: {used} s"


def kind_of(process: psutil.Process, driver: int) -> str:
    if process.pid == driver:
        return "driver"
    name = " ".join(process.cmdline()[:1])
    return "trials" if name.startswith("ray::") and "IDLE" not in name else "Ray"


def run_sweep(arguments: list[str], folder: Path) -> Cost:
    """Runs a sweep by its command and returns what it cost."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    began = time.time()
    command = [sys.executable, "-m", "tune.run", *arguments, "--storage", str(folder.parent), "--name", folder.name]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen: dict[int, tuple[str, float]] = {}
    root = psutil.Process(driver.pid)
    while driver.poll() is None:
        try:
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            break
        for process in processes:
            try:
                used, kind = process.cpu_times(), kind_of(process, driver.pid)
            except psutil.Error:
                continue
            kept = "trials" if seen.get(process.pid, ("", 0.0))[0] == "trials" else kind
            seen[process.pid] = (kept, used.user + used.system)
        time.sleep(0.1)
    assert driver.wait() == 0, driver.stderr.read() if driver.stderr else ""
    trials = own_trials(read_study(folder, "journal"))
    ends = sorted(trial.datetime_complete.timestamp() for trial in trials)
    first = ends[0] - min(trials, key=lambda trial: trial.datetime_complete).user_attrs[SECONDS]
    processor = dict.fromkeys(("driver", "Ray", "trials"), 0.0)
    for kind, seconds in seen.values():
        processor[kind] += seconds
    work = sum(trial.user_attrs[SECONDS] for trial in trials)
    return Cost(start=first - began, span=ends[-1] - first, work=work, processor=processor)


@pytest.fixture
def write_sweep(tmp_path: Path, tiny_config: Callable[..., Config]) -> Callable[..., list[str]]:
    """A function from people and trials to the options of a sweep over so many simulated people."""

    def write(*, people: int, trials: int) -> list[str]:
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(config_tree(tiny_config())))
        save_bank(simulated_bank(people=people, images=30, held_out=20), tmp_path / "bank.npz")
        tree = sweep_tree(tmp_path, SPACE) | {"trials": trials, "features": {"bank": str(tmp_path / "bank.npz")}}
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tree))
        return ["--config", str(tmp_path / "sweep.yaml"), "--address", "local"]

    return write


def test_a_trial_costs_little_beside_its_clustering(write_sweep: Callable[..., list[str]], tmp_path: Path):
    arguments = write_sweep(people=40, trials=TRIALS)
    cost = run_sweep([*arguments, "--concurrency", "1"], tmp_path / "one")
    overhead = (cost.span - cost.work) / TRIALS
    print(f"\n{TRIALS} trials: {cost.text()}; {1000 * overhead:.0f} ms a trial beside its work")
    assert cost.start <= MOST_START_SECONDS
    assert overhead <= MOST_OVERHEAD_SECONDS


def test_two_trials_at_once_take_little_more_than_half_the_time(write_sweep: Callable[..., list[str]], tmp_path: Path):
    arguments = write_sweep(people=100, trials=TRIALS // 2)
    ratios: list[float] = []
    for pair in range(int(os.environ.get("ECUL_BENCH_PAIRS", "3"))):
        spans: dict[int, float] = {}
        for at_once in (1, 2) if pair % 2 else (2, 1):
            cost = run_sweep([*arguments, "--concurrency", str(at_once)], tmp_path / f"{pair}-{at_once}")
            print(f"\npair {pair}, {at_once} at once: {cost.text()}")
            spans[at_once] = cost.span
        ratios.append(spans[1] / spans[2] / 2)
    print(f"efficiency {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    assert statistics.median(ratios) >= LEAST_EFFICIENCY
