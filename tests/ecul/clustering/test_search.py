"""The neighbour search: whatever proposes, the lists are the exact ones, and a search that is too wrong is refused."""

import dataclasses

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.bench.simulate import even_counts, modality_of_groups, simulate_bank
from ecul.clustering.points import find_points
from ecul.clustering.presets import build_recipe
from ecul.clustering.search import tiled
from ecul.clustering.search.arithmetic import BF16, FLOAT32, FLOAT64, TF32
from ecul.clustering.search.blocks import decide_block, join_blocks, propose_pair
from ecul.clustering.search.exact import as_float, fixed_point, pair_distance
from ecul.clustering.search.faiss_index import empty_proposals, faiss_backend
from ecul.clustering.search.lists import NeighborSpec, join_specs
from ecul.clustering.search.search import search, search_by
from ecul.clustering.search.torch_topk import torch_backend
from ecul.errors import SearchError
from ecul.types import FeatureBank
from tests.ecul.clustering.small import angles, parameters, same_lists

PRESETS = ("kreciprocal", "balanced_neighbours", "camera_aware", "emcc")
"""Presets with lists of different kinds; the others search some of the same."""


def spec_of(bank, preset):
    return build_recipe(bank, parameters(preset)).spec


def simulated(num_images, dim, seed=1):
    return simulate_bank(even_counts(num_images, 6, images_per_identity=40), modality_of_groups(6), dim, seed=seed)[0]


@pytest.fixture(scope="module")
def bank():
    return simulated(700, 32)


def one_list(num_images, depth):
    return NeighborSpec(np.zeros(num_images, np.int32), np.zeros((1, 1), np.int32), depth)


def literal_lists(features, spec):
    """The lists by Python's whole numbers and a sort."""
    fixed = np.rint(features.astype(np.float64) * 2**30).astype(np.int64).astype(object)
    exact = np.maximum(2**61 - 2 * (fixed @ fixed.T), 0)
    shape = (len(features), spec.num_slots, spec.depth)
    index, distance = np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32)
    for i in range(len(features)):
        for s in range(spec.num_slots):
            members = [j for j in range(len(features)) if spec.slot[spec.group[i], spec.group[j]] == s]
            members.sort(key=lambda j, i=i: (-1 if i == j else exact[i, j], j))
            for place, j in enumerate(members[: spec.depth]):
                index[i, s, place] = j
                distance[i, s, place] = 0 if i == j else np.float32(exact[i, j] / 2**60)
    return index, distance


def noisy_tiles(seed, amplitude):
    """A backend whose every similarity is off by up to `amplitude`, as another machine's might be."""
    random = np.random.default_rng(seed)

    def product(rows, columns, out):
        exact = rows.astype(np.float64) @ columns.astype(np.float64).T
        out[...] = exact + random.uniform(-amplitude, amplitude, out.shape)

    def propose(features, specs):
        whole = (0, len(features))
        return tiled.propose_blocks(features, specs, whole, whole, product=product, num_threads=1)[0]

    return propose


def test_lists_by_hand():
    group = np.array([0, 0, 1, 1, 0], np.int32)
    slot = np.array([[0, 1], [0, 1]], np.int32)
    found = search(angles(0, 10, 20, 35, 90), [NeighborSpec(group, slot, 3)])[0][0]
    np.testing.assert_array_equal(found.index[0], [[0, 1, 4], [2, 3, -1]])
    np.testing.assert_array_equal(found.index[3], [[1, 0, 4], [3, 2, -1]])
    assert found.distance[0, 0, 1] == pytest.approx(2 - 2 * np.cos(np.deg2rad(10)), abs=1e-6)
    assert np.isinf(found.distance[0, 1, 2])


def test_ties_go_to_the_lower_index_after_the_image_itself():
    found = search(angles(0, 0, 90, 0, 0), [one_list(5, 3)])[0][0].index[:, 0]
    np.testing.assert_array_equal(found, [[0, 1, 3], [1, 0, 3], [2, 0, 1], [3, 0, 1], [4, 0, 1]])


def test_distances_are_exact_in_fixed_point():
    row = np.array([0.6, 0.8, 1e-9], np.float32)
    fixed = np.array([fixed_point(x) for x in row], np.int32)
    assert fixed.tolist() == [round(float(x) * 2**30) for x in row]
    other = np.array([0.8, -0.6, 2.0**-30], np.float32)
    products = [int(a) * round(float(b) * 2**30) for a, b in zip(fixed, other, strict=True)]
    assert pair_distance(fixed, other) == 2**61 - 2 * sum(products)
    assert as_float(2**60) == 1


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_tiles_and_threads_change_no_bit(bank, preset, threads, monkeypatch):
    spec = spec_of(bank, preset)
    expected = literal_lists(bank.features, spec)
    for size in (16, 100, 1024):
        monkeypatch.setattr(tiled, "TILE", size)
        monkeypatch.setattr(tiled, "MIN_TILE", min(size, 128))
        found = search(bank.features, [spec], backend="tiles", num_threads=threads)[0][0]
        np.testing.assert_array_equal(found.index, expected[0])
        np.testing.assert_array_equal(found.distance, expected[1])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "backend",
    [faiss_backend, *(lambda name=name: torch_backend("cpu", name) for name in ("float32", "tf32", "bf16"))],
    ids=["faiss", "float32", "tf32", "bf16"],
)
def test_every_backend_gives_the_same_bits(bank, preset, backend):
    spec = spec_of(bank, preset)
    propose, arithmetic = backend()
    lists, report = search_by(propose, bank.features, [spec], arithmetic=arithmetic)
    same_lists(lists[0], search(bank.features, [spec], backend="tiles")[0][0])
    assert 0 < report.observed_error <= report.error
    assert report.rows == len(bank)


@pytest.mark.parametrize(
    ("backend", "module", "threads_of"),
    [
        ("torch", "ecul.clustering.search.torch_topk", torch.get_num_threads),
        ("faiss", "ecul.clustering.search.faiss_index", faiss.omp_get_max_threads),
    ],
)
def test_a_backend_computes_with_the_threads_it_is_given_and_gives_them_back(
    bank, backend, module, threads_of, monkeypatch
):
    found = []

    def counting(*arguments):
        found.append(threads_of())
        return empty_proposals(*arguments)

    monkeypatch.setattr(f"{module}.empty_proposals", counting)
    before = threads_of()
    search(bank.features, [spec_of(bank, "emcc")], backend=backend, num_threads=3)
    assert found == [3]
    assert threads_of() == before


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_gpu_gives_the_same_bits(precision):
    bank = simulated(3000, 512)
    spec = spec_of(bank, "emcc")
    propose, arithmetic = torch_backend("cuda", precision)
    lists, _ = search_by(propose, bank.features, [spec], arithmetic=arithmetic)
    same_lists(lists[0], search(bank.features, [spec], backend="tiles")[0][0])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("num_blocks", [2, 3, 7])
def test_blocks_have_the_bits_of_the_whole(bank, preset, num_blocks):
    points = find_points(bank).bank
    specs = [spec_of(points, preset), spec_of(points, "emcc")]
    bounds = np.linspace(0, len(points), num_blocks + 1).astype(int)
    blocks = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    proposed = [[] for _ in blocks]
    for a, rows in enumerate(blocks):
        for b, columns in enumerate(blocks[a:], start=a):
            own, other = propose_pair(points, specs, rows, columns, 1)
            proposed[a].append(own)
            if b > a:
                proposed[b].append(other)
    lists, report = join_blocks(*[decide_block(points, specs, 2, *parts) for parts in proposed])
    for found, whole in zip(lists, search(points.features, specs)[0], strict=True):
        same_lists(found, whole)
    assert report.rows == 2 * len(points)


def adversary_finds_the_same(seed):
    """Noise up to the bound of float32, on banks whose dimension makes the bound large."""
    bank = find_points(simulated(240, 2048, seed=seed % 7)).bank
    amplitude = 0.99 * FLOAT32.error(2048)
    for preset in PRESETS:
        spec = spec_of(bank, preset)
        exact = search(bank.features, [spec], backend="tiles", num_threads=1)[0][0]
        lists, report = search_by(noisy_tiles(seed, amplitude), bank.features, [spec], arithmetic=FLOAT32)
        same_lists(lists[0], exact)
        assert report.observed_error > 0.9 * amplitude


def test_noise_up_to_the_bound_changes_no_bit():
    for seed in range(6):
        adversary_finds_the_same(seed)


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_noise_up_to_the_bound_changes_no_bit_in_a_thousand_seeds():
    for seed in range(1000):
        adversary_finds_the_same(seed)


def test_noise_that_would_move_neighbours_is_searched_again():
    bank = find_points(simulated(240, 2048)).bank
    spec = spec_of(bank, "emcc")
    rough = dataclasses.replace(FLOAT32, name="rough", input_unit=0.1)
    lists, report = search_by(noisy_tiles(0, 0.2), bank.features, [spec], arithmetic=rough)
    same_lists(lists[0], search(bank.features, [spec])[0][0])
    assert report.again > 0
    assert report.by_hand == 0


def test_a_search_beyond_its_bound_is_refused(bank):
    spec = spec_of(bank, "emcc")
    with pytest.raises(SearchError, match="choose another backend"):
        search_by(noisy_tiles(0, 4 * FLOAT32.error(32)), bank.features, [spec], arithmetic=FLOAT32)


@pytest.mark.parametrize("dim", [2, 48, 2048])
@pytest.mark.parametrize("arithmetic", [FLOAT32, TF32, BF16, FLOAT64], ids=lambda arithmetic: arithmetic.name)
def test_bounds_grow_with_the_dimension_and_hold(dim, arithmetic):
    bound = arithmetic.error(dim)
    assert arithmetic.error(2 * dim) > bound > arithmetic.sum_unit
    random = np.random.default_rng(dim)
    features = random.standard_normal((200, dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    if arithmetic is FLOAT64:
        return
    _, report = search_by(
        torch_backend("cpu", arithmetic.name)[0], features, [one_list(200, 20)], arithmetic=arithmetic
    )
    assert report.observed_error <= bound


def test_too_many_features_for_a_precision_are_named():
    with pytest.raises(ValueError, match="no useful error bound"):
        TF32.error(2**23)


@st.composite
def tied_features(draw):
    """Exact ties, copies, and copies moved by one unit in the last place."""
    num = draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    features = np.zeros((num, 6), np.float32)
    for row in features:  # four entries of +-1/2: unit rows whose products are exact
        row[random.permutation(6)[:4]] = random.choice([-0.5, 0.5], 4)
    features = features[random.integers(0, max(1, num // 2), num)]
    moved = random.random(features.shape) < draw(st.sampled_from([0.0, 0.1]))
    features[moved] = np.nextafter(features[moved], np.float32(2), dtype=np.float32)
    return features, random.integers(0, draw(st.integers(1, 3)), num).astype(np.int32)


@settings(max_examples=80, deadline=None)
@given(case=tied_features(), depth=st.integers(1, 12), own_list=st.booleans())
def test_ties_and_near_ties_are_decided_exactly(case, depth, own_list):
    features, group = case
    num_groups = int(group.max()) + 1
    slot = np.broadcast_to(np.arange(num_groups, dtype=np.int32), (num_groups, num_groups)).copy()
    spec = NeighborSpec(group, slot if own_list else 1 - np.eye(num_groups, dtype=np.int32), depth)
    expected = literal_lists(features, spec)
    for backend in ("tiles", "faiss", "torch"):
        found = search(features, [spec], backend=backend)[0][0]
        np.testing.assert_array_equal(found.index, expected[0])
        np.testing.assert_array_equal(found.distance, expected[1])


def test_many_copies_are_decided_by_the_exact_kernel_alone():
    features = np.repeat(angles(0, 40), 60, axis=0)
    lists, report = search(features, [one_list(120, 5)], backend="tiles")
    np.testing.assert_array_equal(lists[0].index[7, 0], [7, 0, 1, 2, 3])
    np.testing.assert_array_equal(lists[0].index[100, 0], [100, 60, 61, 62, 63])
    assert report.again == report.by_hand == 120


def test_joined_specs_keep_the_sets_apart(bank):
    rows = [np.flatnonzero(bank.modality == kind).astype(np.int32) for kind in (0, 1)]
    parts = [FeatureBank(bank.features[r], bank.modality[r], bank.camera[r]) for r in rows]
    specs = [spec_of(part, "emcc") for part in parts]
    joined = search(bank.features, [join_specs(specs, rows, len(bank))])[0][0]
    for members, part, own in zip(rows, parts, specs, strict=True):
        alone = search(part.features, [own])[0][0]
        np.testing.assert_array_equal(joined.subset(members, len(bank)).index[:, : own.num_slots], alone.index)


def test_an_unknown_backend_is_named(bank):
    with pytest.raises(ValueError, match="choose auto, tiles, faiss or torch"):
        search(bank.features, [spec_of(bank, "emcc")], backend="magic")
