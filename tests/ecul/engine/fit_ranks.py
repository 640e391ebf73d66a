"""A training as one rank of several: `python -m tests.ecul.engine.fit_ranks RANK WORLD_SIZE STORE CONFIG FOLDER`."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.interfaces import Reporter
from ecul.engine.run_directory import RunDirectory
from ecul.settings import config_tree, parse_config

REPOSITORY = Path(__file__).parents[3]


def fit_in_ranks(config: Config, folder: Path, *, num_ranks: int) -> None:
    """Trains as several processes, one for each rank, into a folder that is not there yet."""
    settings, store = folder.with_suffix(".json"), folder.with_suffix(".store")
    settings.write_text(json.dumps(config_tree(config)))
    command = [sys.executable, "-m", "tests.ecul.engine.fit_ranks"]
    rest = [str(num_ranks), str(store), str(settings), str(folder)]
    ranks = [subprocess.Popen([*command, str(rank), *rest], cwd=REPOSITORY) for rank in range(num_ranks)]
    assert [rank.wait(200) for rank in ranks] == [0] * num_ranks


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, folder = int(sys.argv[1]), Path(sys.argv[5])
    options = {"rank": rank, "world_size": int(sys.argv[2]), "timeout": timedelta(seconds=100)}
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", **options)
    config = parse_config(json.loads(Path(sys.argv[4]).read_text()))
    reporter = RunDirectory(folder) if rank == 0 else Reporter()
    fit(config, clustering_fn=partial(cluster_epoch, num_threads=1), reporter=reporter, store=LocalStore(folder))
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may outlive the group, and the interpreter's end would then abort the process
