"""Epochs of a small training as one rank of several, with local batch normalisation.

`python -m tests.ecul.engine.epoch_ranks RANK WORLD_SIZE STORE DATA RESULT` runs one rank and saves what it has.
"""

import copy
import os
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.data import images
from ecul.engine.embedding import embed_images
from ecul.engine.epoch import run_epoch
from ecul.engine.interfaces import Reporter
from ecul.engine.session import Session, open_data, open_session
from ecul.engine.state import TrainState
from ecul.errors import DataError
from ecul.settings import parse_config

CLUSTERING = {"preset": "emcc", "k1": 6, "k2": 3, "k3": 6, "eps": 0.5, "min_samples": 2}


def config(data: str) -> Config:
    return parse_config(
        {
            "data": {"root": data, "height": 32, "width": 16, "crop_padding": 2},
            "model": {"backbone": "small", "weights": "none"},
            "stages": {"bootstrap": 0, "intra": 1, "united": 2, "iterations": 3},
            "batch": {"batch_size": 8, "instances": 2},
            "clustering": {"united": CLUSTERING, "intra": CLUSTERING},
            "evaluation": {"every": 0},
            "runtime": {"device": "cpu"},
        }
    )


def opened(settings: Config) -> tuple[Session, TrainState]:
    return open_session(settings, open_data(settings), clustering_fn=cluster_epoch, reporter=Reporter())


def embedded(session: Session, state: TrainState) -> torch.Tensor:
    """Embeddings of all images, shares of the ranks joined."""
    options = {"device": session.device, "batch_size": 64, "autocast": False}
    return embed_images(state.model, session.store, session.samples, **options)


def counted_decodings() -> list[str]:
    """From now on, the images that this process decodes."""
    decoded: list[str] = []
    original = images.read_image

    def read_image(path: str, **size: int) -> Any:
        decoded.append(path)
        return original(path, **size)

    images.read_image = read_image
    return decoded


def broken_image(good: str) -> str:
    """What each rank says of an image that one of them cannot read."""
    try:
        images.ImageStore([good, "gone.png"], height=8, width=4, cache_bytes=10**6)
    except DataError as error:
        return str(error)
    return "nothing"


def train(settings: Config) -> dict[str, Any]:
    """Trains without a stop, and once more from the checkpoint that rank 0 kept after the second epoch."""
    decoded = counted_decodings()
    session, state = opened(settings)
    undisturbed: list[Any] = []
    kept: list[dict[str, Any] | None] = [None]
    for epoch in (1, 2, 3):
        run_epoch(session, state, epoch)
        state.epoch = epoch
        undisturbed.append({name: value.clone() for name, value in state.model.state_dict().items()})
        if epoch == 2:
            kept = [copy.deepcopy(state.checkpoint(settings))]  # the training goes on in the same tensors
            dist.broadcast_object_list(kept, src=0)
    again, restored = opened(settings)
    assert kept[0] is not None
    restored.restore(kept[0])
    run_epoch(again, restored, 3)
    return {
        "undisturbed": undisturbed,
        "restarted": dict(restored.model.state_dict()),
        "embeddings": embedded(session, state),
        "images": session.store.get(np.arange(len(session.samples))),
        "decoded": len(decoded),
        "broken": broken_image(session.samples.paths[0]),
    }


def as_rank(rank: int, world_size: int, store: str, data: str) -> dict[str, Any]:
    """Joins a process group and trains."""
    options = {"rank": rank, "world_size": world_size, "timeout": timedelta(seconds=100)}
    dist.init_process_group("gloo", init_method=f"file://{store}", **options)
    try:
        return train(config(data))
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.save(as_rank(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5]), sys.argv[5])
    os._exit(0)  # gloo's threads may outlive the group, and the interpreter's end would then abort the process
