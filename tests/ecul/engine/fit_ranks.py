"""A training as one rank of several: `python -m tests.ecul.engine.fit_ranks RANK WORLD_SIZE STORE CONFIG FOLDER`."""

import json
import os
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from ecul.clustering.pipeline import cluster_epoch
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.interfaces import Reporter
from ecul.engine.run_directory import RunDirectory
from ecul.settings import parse_config

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
