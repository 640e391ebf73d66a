"""A real head with token authentication, and trainings submitted to it."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecul.config import Config
from ecul.settings import config_tree
from tests.with_ray.runs import InBackground, assert_same_run, events, free_port, seconds_after

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("aiohttp_cors") is None, reason="job submission needs ray[default]"
)


@dataclass
class Head:
    """A cluster started with `ray start`.

    Attributes:
        url: of its dashboard.
        environment: of a client that has the token.
    """

    url: str
    environment: dict[str, str]

    def call(self, *command: str, token: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a Python module's command as a client."""
        drop = () if token else ("RAY_AUTH_TOKEN",)
        environment = {name: value for name, value in self.environment.items() if name not in drop}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    port, dashboard, agent = free_port(), free_port(), free_port()
    environment = dict(os.environ) | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    options = ["--head", "--block", "--num-cpus=4", f"--port={port}", "--node-ip-address=127.0.0.1"]
    options += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    options += ["--object-store-memory=100000000", f"--temp-dir={tmp_path_factory.mktemp('j')}"]
    log = tmp_path_factory.mktemp("log") / "head.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *options],
            env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 180
    while not _listens(dashboard):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    yield Head(f"http://127.0.0.1:{dashboard}", environment)
    process.terminate()
    try:
        process.wait(2)  # a head with jobs behind it takes longer than is worth waiting for
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill_job(run: Path, job: InBackground[subprocess.CompletedProcess[str]]) -> None:
    """Kills the driver of a run without a word, once two epochs are trained."""
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
        assert job.is_alive(), job.result(0).stdout
        assert time.monotonic() < deadline, "the job did not train"
        time.sleep(0.05)
    drivers = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _is_driver(process, run.parent)
    ]
    assert drivers
    for pid in drivers:
        os.kill(pid, signal.SIGKILL)


def _is_driver(process: Path, storage: Path) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # it has ended meanwhile
    # the client that submitted it has the same arguments behind its own
    return arguments[2:3] == [b"cluster.train"] and str(storage).encode() in arguments


def test_a_job_whose_driver_was_killed_is_resumed_by_name_and_ends_as_the_local_run(
    head: Head, frozen_config: Config, local_run: Path, tmp_path: Path
):
    # the code is the environment's; where it comes with the job, the clustering is compiled anew, which takes 12 s
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config_tree(frozen_config)))
    working = ["--address", head.url, "--working-dir", str(directory)]
    train = ["python", "-m", "cluster.train", "--storage", str(tmp_path)]
    rays = ["ray.scripts.scripts", "job", "submit", *working, "--", *train]
    rays += ["--config", "config.json", "--cpu", "--name", "run"]
    first = InBackground(lambda: head.call(*rays))
    kill_job(tmp_path / "run", first)
    (tmp_path / "died").write_text(f"{time.time()}")
    assert first.result(300).returncode != 0
    snapshot = tmp_path / "run" / "checkpoint_manager_snapshot.json"
    snapshot.write_text(snapshot.read_text()[:-20])  # as if it had been killed while writing

    ours = ["cluster.submit", *working, "--follow", "--"]
    second = head.call(*ours, *train, "--resume", "run")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "list of checkpoints was broken" in second.stdout
    assert "sysu_all_single" in second.stdout
    assert_same_run(tmp_path / "run", local_run)
    # the cluster may still take the first clustering away before its worker, which then warns
    told = [event for event in events(tmp_path / "run") if event["event"] != "warning"]
    # the workers may end the last epoch, and the run, before they notice that the driver is gone
    first_end = [event["event"] for event in told[1:-2]]
    assert [told[0]["event"], *(event["event"] for event in told[-2:])] == ["training", "training", "finished"]
    assert first_end in ([], ["finished"])
    assert f"job {told[-2]['submission_id']}: " in second.stderr
    if told[-2]["after_epoch"] < frozen_config.num_epochs:
        assert not first_end
        assert "epoch   3  stage 2" in second.stdout
    assert seconds_after(tmp_path / "died", tmp_path / "run")["training"] < 90


def test_the_code_comes_with_the_job_and_the_exit_code_is_the_jobs(head: Head, frozen_config: Config, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(config_tree(frozen_config)))
    done = head.call(
        "cluster.submit", "--address", head.url, "--follow", "--",
        "python", "-m", "cluster.train", "--config", str(tmp_path / "config.json"), "--cpu", "--workers", "4",
        "--storage", str(tmp_path), "--name", "run",
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "4 workers of 1 CPU and the clustering of 1 CPU need CPU 5 (available: 4)" in done.stdout


def test_a_job_is_asked_for_and_stopped(head: Head):
    started = head.call(
        "cluster.submit", "--address", head.url, "--name", "sleeper", "--env", "A=1", "--", "sleep", "99"
    )
    assert started.stdout == "sleeper\n"
    stopped = head.call("cluster.submit", "--address", head.url, "--stop", "sleeper")
    assert stopped.stdout == "STOPPED\n", stopped.stderr
    unknown = head.call("cluster.submit", "--address", head.url, "--status", "nobody")
    assert unknown.returncode == 2
    assert "refused" in unknown.stderr


def test_without_the_token_nothing_is_taken(head: Head):
    done = head.call("cluster.submit", "--address", head.url, "--", "true", token=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_server_is_one_line(head: Head):
    done = head.call("cluster.submit", "--address", f"http://127.0.0.1:{free_port()}", "--", "true")
    assert done.returncode == 2
    assert "no job server at" in done.stderr
