"""The cluster that a soak disturbs, in a folder for temporary files of its own."""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.soak.leftovers import Traces, adopt_orphans
from tests.with_ray.runs import free_port, mark_tests

NODE = {"num_cpus": 3, "object_store_memory": 100 * 2**20, "node_ip_address": "127.0.0.1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks these tests, and passes over warnings that Ray's own code raises."""
    mark_tests(items, Path(__file__).parent, pytest.mark.soak)


@dataclass
class Soaked:
    """A simulated cluster of a head and two nodes that may be killed.

    Attributes:
        handle: Ray's simulated cluster, joined by this process.
        root: folder of all runs, logs and data.
        temporary: folder for temporary files of every process; Ray's own session is elsewhere.
        environment: of the commands.
        before: what there was before anything ran.
    """

    handle: Any
    root: Path
    temporary: Path
    environment: dict[str, str]
    before: Traces


@pytest.fixture
def soaked(tmp_path: Path) -> Iterator[Soaked]:
    """Starts the cluster; the test itself ends it, since it looks at what is left then."""
    adopt_orphans()
    session = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # short: socket paths are limited to 107 bytes
    (session / "ray").mkdir()
    temporary = tmp_path / "temporary"
    for folder in (temporary, tmp_path / "logs", tmp_path / "home"):
        folder.mkdir()
    kept = dict(os.environ)
    os.environ |= {
        "RAY_TMPDIR": str(session),
        "TMPDIR": str(temporary),
        "HOME": str(tmp_path / "home"),
        "WANDB_MODE": "offline",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    before = Traces.now(temporary)
    import ray
    from ray.cluster_utils import Cluster

    health = {"initial_delay_ms": 0, "period_ms": 500, "timeout_ms": 10_000, "failure_threshold": 4}
    head = {
        **NODE,
        "num_cpus": 2,
        "include_dashboard": True,
        "dashboard_port": free_port(),
        "temp_dir": str(session),
        "_system_config": {f"health_check_{name}": value for name, value in health.items()},
    }
    handle = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        handle.add_node(**NODE)
    ray.init(address=handle.address, logging_level="WARNING", log_to_driver=False)
    yield Soaked(handle, tmp_path, temporary, dict(os.environ), before)
    ray.shutdown()
    handle.shutdown()
    os.environ.clear()
    os.environ |= kept
    shutil.rmtree(session, ignore_errors=True)


@pytest.fixture
def seed() -> int:
    """Of the kills: SOAK_SEED, else another one each time."""
    return int(os.environ.get("SOAK_SEED", random.randrange(10_000)))


@pytest.fixture
def num_kills() -> int:
    """SOAK_KILLS, else 30."""
    return int(os.environ.get("SOAK_KILLS", "30"))
