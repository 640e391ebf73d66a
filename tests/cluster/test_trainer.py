from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from cluster.config import load_cluster_config
from cluster.trainer import backend_of


def test_workers_with_gpus_have_a_backend_for_each_device():
    assert backend_of(load_cluster_config(None)) == "cpu:gloo,cuda:nccl"
    assert backend_of(load_cluster_config(None, {"cpu": True})) == "gloo"


@pytest.mark.gpu
def test_objects_go_over_gloo_and_tensors_over_nccl(tmp_path: Path):
    backend = backend_of(load_cluster_config(None))
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        allocated = torch.cuda.memory_allocated()
        objects = [{"labels": list(range(10_000))}]
        dist.broadcast_object_list(objects, src=0)
        assert torch.cuda.memory_allocated() == allocated
        rows = torch.ones(4, device="cuda")
        parts = [torch.empty_like(rows)]
        dist.all_gather(parts, rows)
        assert torch.equal(parts[0], rows)
    finally:
        dist.destroy_process_group()
