"""What Ray costs: the same training alternately by `ecul train` and by `python -m cluster.train`; features sent around.

Run alone on an idle machine: pytest -m bench -s tests/with_ray/test_overhead_bench.py. ECUL_BENCH_PAIRS sets the pairs.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.config import parse_cluster_config
from cluster.remote_clustering import RemoteClustering
from ecul.bench.clustering import simulated
from ecul.config import Config
from ecul.engine.run_directory import read_records
from ecul.settings import config_tree
from ecul.types import ClusteringParameters, ClusteringRequest
from tests.with_ray.runs import SmallCluster

pytestmark = pytest.mark.bench
SETTLED_EPOCHS = 4
MOST_OVERHEAD = 0.03
MOST_START_SECONDS = 25.0


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Runs a training; returns the seconds of its epochs and all the others."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True, env=environment)
    whole = time.perf_counter() - start
    records = read_records(folder)
    parts = ("seconds/extract", "seconds/cluster", "seconds/train")
    # The first epochs start processes and compile kernels, in both; Ray's dashboard starts beside them.
    epochs = sum(record[part] for record in records if record["epoch"] > SETTLED_EPOCHS for part in parts)
    return epochs, whole - epochs


def test_ray_costs_little(tiny_config: Callable[..., Config], tmp_path: Path):
    stages = {"stages.intra": 1, "stages.united": 11, "stages.iterations": 60}
    tree = config_tree(tiny_config({**stages, "batch.batch_size": 32, "evaluation.every": 0}))
    (tmp_path / "config.json").write_text(json.dumps(tree))
    config = ["--config", str(tmp_path / "config.json")]
    ratios: list[float] = []
    starts: list[float] = []
    for pair in range(int(os.environ.get("ECUL_BENCH_PAIRS", "3"))):
        local, remote = tmp_path / f"local{pair}", tmp_path / f"remote{pair}"
        plain = ["ecul.cli", "train", *config, "--out", str(local)]
        over_ray = ["cluster.train", *config, "--address", "local", "--cpu", "--storage", str(tmp_path)]
        over_ray += ["--name", remote.name]
        runs = [(plain, local), (over_ray, remote)]
        measured = {folder: timed(command, folder) for command, folder in (runs if pair % 2 else runs[::-1])}
        ratios.append(measured[remote][0] / measured[local][0])
        starts.append(measured[remote][1] - measured[local][1])
        print(f"pair {pair}: epochs {measured[local][0]:.2f} s alone, {measured[remote][0]:.2f} s over Ray; "
              f"the rest {measured[local][1]:.1f} s and {measured[remote][1]:.1f} s")  # fmt: skip
    print(f"median ratio {statistics.median(ratios):.3f}, median start-up {statistics.median(starts):.1f} s")
    assert statistics.median(ratios) <= 1 + MOST_OVERHEAD
    assert statistics.median(starts) <= MOST_START_SECONDS


def test_features_of_sysu_size_go_to_the_task_and_labels_back_within_a_second(ray_cluster: SmallCluster):
    clustering = RemoteClustering(parse_cluster_config({}).clustering.model_copy(update={"borrow": False}), print)
    parameters = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=10, k2=4, k3=10)
    request = ClusteringRequest(parameters, parameters)
    seconds: list[float] = []
    for size in (2_000, 34_167, 34_167):  # the first starts the task's process
        bank, _ = simulated(size, 2048, "sysu", 0)
        figures = clustering(bank, request).diagnostics
        seconds.append(figures["task/overhead_seconds"])
        print(f"{size} images: {figures['task/put_seconds']:.2f} s into the store, {seconds[-1]:.2f} s there and back, "
              f"{figures['task/seconds']:.1f} s of clustering")  # fmt: skip
    assert min(seconds[1:]) <= 1
