"""What one sees of a run from outside: Prometheus, the dashboard's Train tab, and the Ray job in its events."""

import json
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from tests.with_ray.runs import SmallCluster, events

SECONDS = 40


def fetched(url: str) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=10) as response:
        return response.read().decode()


def shown(run: str) -> None:
    """Shows a run's epochs, as rank 0 does, for as long as it is looked at."""
    from cluster.gauges import Gauges

    gauges = Gauges(run)
    gauges.start(None, {}, epoch=1, history=[{"epoch": 1.0, "loss/total": 2.5}])  # type: ignore[arg-type]
    gauges.epoch({"epoch": 2.0, "images_per_second": 70.5, "seconds/cluster": 1.5})
    time.sleep(SECONDS)


def test_prometheus_finds_the_runs_numbers_at_the_node(ray_cluster: SmallCluster) -> None:
    showing = ray.remote(shown).options(num_cpus=0).remote("watched")
    here = ray.get_runtime_context().get_node_id()
    (head,) = (node for node in ray.nodes() if node["NodeID"] == here)
    address = f"http://127.0.0.1:{head['MetricsExportPort']}/metrics"
    wanted = {"epoch": 2, "images_per_second": 70.5, "clustering_seconds": 1.5, "loss": 2.5}
    deadline = time.monotonic() + SECONDS
    found: dict[str, float] = {}
    while found != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
        for line in fetched(address).splitlines():
            if line.startswith("ray_ecul_") and 'run="watched"' in line:
                found[line[len("ray_ecul_") : line.index("{")]] = float(line.split()[-1])
    ray.cancel(showing, force=True)


def test_the_train_tab_has_the_run(ray_cluster: SmallCluster, undisturbed: Path) -> None:
    if ray_cluster.dashboard is None:
        pytest.skip("needs ray[default]")
    runs = json.loads(fetched(f"{ray_cluster.dashboard}/api/train/v2/runs/v1"))["train_runs"]
    states = {run["name"]: run["status"] for run in runs}
    assert states[undisturbed.name] == "FINISHED"


def test_the_events_name_the_ray_job(undisturbed: Path) -> None:
    assert events(undisturbed)[0]["job_id"] == ray.get_runtime_context().get_job_id()
