"""One Ray cluster for all of these tests, started at the first that needs it, and the runs that they compare with.

Most of a small training over Ray is the start of processes. So there is one undisturbed training over Ray, and what the
others are compared with is trained without it.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cluster.config import ClusterConfig, load_cluster_config
from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory
from tests.ecul.engine.fit_ranks import fit_in_ranks
from tests.with_ray.runs import SmallCluster, free_port, mark_tests, train


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks these tests, and passes over warnings that Ray's own code raises."""
    mark_tests(items, Path(__file__).parent, pytest.mark.ray)


@pytest.fixture(autouse=True)
def visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes that a command, called in this process, hides the GPUs from it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[SmallCluster]:
    """A head with 14 logical CPUs on loopback."""
    temp = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    (temp / "ray").mkdir()
    before = dict(os.environ)
    os.environ |= {
        "RAY_TMPDIR": str(temp),  # Ray notes the newest cluster's address in a folder `ray` there, which must exist
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    import ray
    from ray.cluster_utils import Cluster

    handle = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 14,
            "include_dashboard": importlib.util.find_spec("aiohttp_cors") is not None,
            "dashboard_port": free_port(),
            "node_ip_address": "127.0.0.1",
            "object_store_memory": 600 * 2**20,
            "temp_dir": str(temp),
            "_system_config": {
                "metrics_report_interval_ms": 2000,
                "health_check_initial_delay_ms": 0,
                "health_check_period_ms": 500,
                "health_check_timeout_ms": 10_000,
                "health_check_failure_threshold": 4,
            },
        },
    )
    context = ray.init(address=handle.address, logging_level="WARNING", log_to_driver=False)
    url = context.dashboard_url
    yield SmallCluster(handle, handle.address, f"http://{url}" if url else None, dict(os.environ))
    ray.shutdown()
    handle.shutdown()
    shutil.rmtree(temp, ignore_errors=True)
    os.environ.clear()
    os.environ |= before


@pytest.fixture(scope="session")
def small() -> Callable[..., ClusterConfig]:
    """A function from {dotted path: value} to a cluster configuration of one CPU worker."""

    def build(changes: dict[str, Any] | None = None) -> ClusterConfig:
        base = {"cpu": True, "cpus_per_worker": 1, "clustering.borrow": False, "max_failures": 2}
        return load_cluster_config(None, base | (changes or {}))

    return build


@pytest.fixture(scope="session")
def frozen_config(tiny_config: Callable[..., Config]) -> Config:
    """A training whose statistics are frozen, so that the number of workers changes only the rounding."""
    return tiny_config({"model.batch_norm": "frozen", "runtime.keep_every": 2})


@pytest.fixture(scope="session")
def own_statistics(tiny_config: Callable[..., Config]) -> Config:
    """A training whose workers normalise by their own part of a batch."""
    return tiny_config({"model.batch_norm": "local"})


@pytest.fixture(scope="session")
def local_run(frozen_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training without Ray."""
    folder = tmp_path_factory.mktemp("local") / "run"
    torch.set_num_threads(1)
    fit(
        frozen_config,
        clustering_fn=partial(cluster_epoch, num_threads=1),
        reporter=RunDirectory(folder),
        store=LocalStore(folder, keep=9, keep_every=frozen_config.runtime.keep_every),
    )
    return folder


@pytest.fixture(scope="session")
def undisturbed(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same training with two workers, over Ray with nothing that happens to it."""
    return train(frozen_config, small({"num_workers": 2}), tmp_path_factory.mktemp("undisturbed"), "undisturbed")


@pytest.fixture(scope="session")
def own_ranks(own_statistics: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training with statistics of their own as two ranks without Ray."""
    folder = tmp_path_factory.mktemp("own")
    fit_in_ranks(own_statistics, folder / "run", num_ranks=2)
    return folder / "run"
