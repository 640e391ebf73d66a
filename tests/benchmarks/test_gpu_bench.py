"""The neighbour search on a GPU beside its bare products, in each precision: pytest -m bench -s on a machine with one.

Prints a line a size and precision, so the table of docs/benchmarks.md is this test's output.
"""

import time

import pytest
import torch

from ecul.bench.clustering import simulated, stamp
from ecul.clustering.presets import build_recipe
from ecul.clustering.search.search import search, search_by
from ecul.clustering.search.torch_topk import bare_products, torch_backend
from ecul.types import ClusteringParameters
from tests.ecul.clustering.small import same_lists

pytestmark = [pytest.mark.bench, pytest.mark.gpu]
EMCC = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=10, k2=4, k3=10)


def seconds(work):
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    torch.cuda.synchronize()
    return result, time.perf_counter() - start


@pytest.mark.parametrize(("num_images", "groups"), [(34_167, "sysu"), (200_000, "6")])
def test_search_on_a_gpu(num_images, groups):
    bank, _ = simulated(num_images, 2048, groups, 0)
    specs = [build_recipe(bank, EMCC).spec]
    print(f"\n{torch.cuda.get_device_name()}, {num_images} x 2048")
    found = []
    for precision in ("float32", "tf32", "bf16"):
        propose, arithmetic = torch_backend("cuda", precision)
        bare_products(bank.features[:4096], "cuda", precision)  # starts the libraries
        floor = min(seconds(lambda: bare_products(bank.features, "cuda", precision))[1] for _ in range(3))  # noqa: B023
        proposing = seconds(lambda: propose(bank.features, specs))[1]  # noqa: B023
        (lists, report), whole = seconds(
            lambda: search_by(propose, bank.features, specs, arithmetic=arithmetic)  # noqa: B023
        )
        found.append(lists[0])
        print(
            f"{precision:8} products {floor:7.3f} s  propose {proposing:7.3f} s  search {whole:7.3f} s  "
            f"rows again {report.again}  error bound {report.error:.2g} seen {report.observed_error:.2g}"
        )
    if num_images < 100_000:
        tiles, whole = seconds(lambda: search(bank.features, specs, backend="tiles"))
        found.append(tiles[0][0])
        print(f"tiles on {stamp()['threads']} threads: search {whole:.3f} s")
    for lists in found[1:]:
        same_lists(lists, found[0])
