"""Ratios of the sparse engine to the dense version; timings, so outside the default run: pytest -m bench."""

import pytest

from ecul.bench import clustering as growth
from ecul.types import ClusteringParameters

pytestmark = pytest.mark.bench
EMCC = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=10, k2=4, k3=10)
KRECIPROCAL = ClusteringParameters("kreciprocal", 0.6, 4, k1=30, k2=6)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    for parameters in (EMCC, KRECIPROCAL):
        growth.warm_up(parameters, "sysu")


def fastest(bank, identity, parameters):
    return min((growth.measure(bank, identity, parameters) for _ in range(3)), key=lambda run: run.seconds["total"])


@pytest.mark.parametrize("parameters", [EMCC, KRECIPROCAL], ids=lambda parameters: parameters.preset)
def test_engine_beats_the_dense_version_at_12000(parameters):
    bank, identity = growth.simulated(12_000, 2048, "sysu", 0)
    run = fastest(bank, identity, parameters)
    dense = growth.measure_reference(bank, identity, parameters)
    found = growth.ratios(run, dense)
    assert run.clusters == dense.clusters
    assert found["after_search"] >= 30
    assert found["total"] >= 4
    assert found["memory"] >= 10


def test_sysu_size_is_seconds_and_little_memory():
    bank, identity = growth.simulated(34_167, 2048, "sysu", 0)
    run = fastest(bank, identity, EMCC)
    assert run.seconds["after_search"] <= 6
    assert run.peak_mib <= 1536


def test_all_but_the_search_grows_almost_linearly():
    runs = []
    for size in (10_000, 30_000, 100_000):
        runs.append(fastest(*growth.simulated(size, 64, "6", 0), EMCC))
    assert growth.exponent(runs, "after_search", cpu=True) <= 1.2
