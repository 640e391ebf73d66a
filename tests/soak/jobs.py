"""The two commands that the soak disturbs: each is started again with `--resume` until it ends by itself."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ecul.engine.run_directory import read_records

TORN_LINE = Path(__file__).with_name("torn_line.py")
_REFUSED = 2  # exit code while the killed one still counts as alive, or the cluster is too small without a node
_REFUSED_S = 2.0
_MOST_STARTS = 80


@dataclass
class Job:
    """A command that is resumed whenever it was killed.

    Attributes:
        name: of the run or sweep.
        folder: of the run or sweep.
        begin: arguments of the first start.
        resume: arguments of each later one.
        environment: of the process.
        logs: folder for what it prints.
        starts: how often it was started.
    """

    name: str
    folder: Path
    begin: list[str]
    resume: list[str]
    environment: dict[str, str]
    logs: Path
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _refused: int = 0  # the newest start that was refused
    _not_before: float = 0.0

    def supervise(self) -> bool:
        """Starts the command if it does not run; returns whether it has ended by itself, with success."""
        if self._process is None:
            self._start()
            return False
        code = self._process.poll()
        if code == 0:
            return True
        if code is None or time.monotonic() < self._not_before:
            return False
        if code != -signal.SIGKILL and self._refused < self.starts:
            self._refused = self.starts
            print(f"{self.name}: start {self.starts} ended with {code}: {self._last_words()}")
            assert code == _REFUSED, f"{self.name} ended with {code}, which only a killed or refused one may"
            assert self.starts <= _MOST_STARTS, f"{self.name} was started {self.starts} times"
            self._not_before = time.monotonic() + _REFUSED_S
            return False
        self._start()
        return False

    @property
    def pid(self) -> int:
        """Process of the command."""
        assert self._process is not None
        return self._process.pid

    def runs(self) -> bool:
        """Whether the command runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Ends the command without a word."""
        os.kill(self.pid, signal.SIGKILL)

    def epochs(self) -> dict[str, float]:
        """The last recorded epoch of each training of this job, by the name of its run."""
        files = [self.folder / "metrics.jsonl", *self.folder.glob("trials/*/metrics.jsonl")]
        return {file.parent.name: last_epoch(file) for file in files if file.is_file()}

    def _start(self) -> None:
        begun = (self.folder / "cluster.json").exists() or (self.folder / "sweep.yaml").exists()
        self.starts += 1
        with (self.logs / f"{self.name}-{self.starts}.log").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *(self.resume if begun else self.begin)],
                env=self.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _last_words(self) -> str:
        lines = (self.logs / f"{self.name}-{self.starts}.log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "(nothing)"


def last_epoch(metrics: Path) -> float:
    """The epoch of the last whole line of a metrics.jsonl; -1 where there is none."""
    records = read_records(metrics.parent)
    return records[-1]["epoch"] if records else -1.0


def train_job(root: Path, address: str, config: Path, environment: dict[str, str], *, name: str) -> Job:
    """A training of two workers."""
    common = ["-m", "cluster.train", "--address", address, "--storage", str(root / "runs")]
    settings = ["--cpu", "--workers", "2", "--tracker", "wandb"]
    for text in ("max_failures=-1", "start_timeout_s=20", "clustering.borrow=false"):
        settings += ["--cluster-set", text]
    return Job(
        name=name,
        folder=root / "runs" / name,
        begin=[*common, "--config", str(config), "--name", name, *settings],
        resume=[*common, "--resume", name, "--tracker", "wandb"],
        environment=environment,
        logs=root / "logs",
    )


def sweep_job(root: Path, address: str, sweep: Path, environment: dict[str, str], *, name: str) -> Job:
    """A full sweep, one trial at a time."""
    common = [str(TORN_LINE), str(root / f"cut-{name}"), "--address", address, "--storage", str(root / "sweeps")]
    return Job(
        name=name,
        folder=root / "sweeps" / name,
        begin=[*common, "--config", str(sweep), "--name", name, "--concurrency", "1"],
        resume=[*common, "--resume", name, "--concurrency", "1"],
        environment=environment,
        logs=root / "logs",
    )
