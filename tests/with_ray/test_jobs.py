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
from tests.with_ray.runs import InBackground, assert_same_run, free_port

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


@dataclass
class Submitted:
    """Trainings that were submitted as jobs, side by side."""

    storage: Path
    ours: InBackground[subprocess.CompletedProcess[str]]
    rays: InBackground[subprocess.CompletedProcess[str]]
    too_large: InBackground[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def submitted(head: Head, frozen_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Submitted:
    storage = tmp_path_factory.mktemp("jobs")
    (storage / "config.json").write_text(json.dumps(config_tree(frozen_config)))
    train = ["python", "-m", "cluster.train", "--config", str(storage / "config.json"), "--cpu"]
    train += ["--storage", str(storage)]
    ours = ["cluster.submit", "--address", head.url, "--follow", "--", *train]
    rays = ["ray.scripts.scripts", "job", "submit", "--address", head.url, "--working-dir", ".", "--", *train]
    return Submitted(
        storage=storage,
        ours=InBackground(lambda: head.call(*ours, "--name", "ours")),
        rays=InBackground(lambda: head.call(*rays, "--name", "rays")),
        too_large=InBackground(lambda: head.call(*ours, "--name", "large", "--workers", "4")),
    )


def test_a_submitted_training_ends_as_the_local_one(submitted: Submitted, local_run: Path):
    done = submitted.ours.result(300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch   3  stage 2" in done.stdout
    assert "sysu_all_single" in done.stdout
    assert_same_run(submitted.storage / "ours", local_run)


def test_a_plain_ray_job_submit_ends_as_the_local_one(submitted: Submitted, local_run: Path):
    done = submitted.rays.result(300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_run(submitted.storage / "rays", local_run)


def test_the_exit_code_is_the_jobs_and_too_small_is_said(submitted: Submitted):
    done = submitted.too_large.result(300)
    assert done.returncode == 2
    assert (
        "the cluster is too small: 4 workers of 1 CPU and the clustering of 1 CPU need CPU 5 (available: 4)"
        in done.stdout
    )


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
