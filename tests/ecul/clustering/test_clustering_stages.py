"""Each stage of the clustering: cases by hand, and independence of ranges, threads, tiles and order."""

import numpy as np
import pytest

from ecul.bench.simulate import even_counts, modality_of_groups, simulate_bank
from ecul.clustering.dbscan import dbscan_labels
from ecul.clustering.encoding import half_range
from ecul.clustering.jaccard import jaccard_rows, pair_jaccard
from ecul.clustering.presets import build_recipe
from ecul.clustering.ranges import encode_all, encode_range, encoding_lists, extend_range, jaccard_range
from ecul.clustering.search import tiled as tiles
from ecul.clustering.search.faiss_index import search_faiss
from ecul.clustering.search.lists import (
    NeighborSpec,
    concatenate_lists,
    join_specs,
    recall_on_sample,
    search,
    search_rows,
)
from ecul.clustering.search.torch_topk import search_torch
from ecul.clustering.selection import other_modality_spec, select_pairs
from ecul.clustering.sparse import SparseRows, concatenate_rows, fill_rows, inverted_index, row_ranges
from ecul.types import ClusteringParameters, FeatureBank, SelectionParameters

PRESETS = {
    "kreciprocal": {"k1": 12, "k2": 4},
    "modality_balanced": {"k1": 12, "k2": 6},
    "balanced_neighbours": {"k1": 12, "k2": 3},
    "camera_aware": {"k1_intra": 4, "k1_inter": 9, "k2_intra": 2, "k2_inter": 3},
    "emcc": {"k1": 5, "k2": 3, "k3": 6, "groups": "modality_camera"},
}


def parameters(preset, *, eps=0.6):
    return ClusteringParameters(preset=preset, eps=eps, min_samples=4, **PRESETS[preset])


def angles(*degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def bank():
    return simulate_bank(even_counts(700, 6, images_per_identity=40), modality_of_groups(6), 32, seed=1)[0]


@pytest.fixture(scope="module")
def spec(bank):
    return build_recipe(bank, parameters("emcc")).spec


def same_lists(first, second):
    np.testing.assert_array_equal(first.index, second.index)
    np.testing.assert_array_equal(first.distance, second.distance)


def same_rows(first, second):
    for name in ("indptr", "index", "value"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_lists_by_hand():
    group = np.array([0, 0, 1, 1, 0], np.int32)
    slot = np.array([[0, 1], [0, 1]], np.int32)
    found = search(angles(0, 10, 20, 35, 90), [NeighborSpec(group, slot, 3)])[0]
    np.testing.assert_array_equal(found.index[0], [[0, 1, 4], [2, 3, -1]])
    np.testing.assert_array_equal(found.index[3], [[1, 0, 4], [3, 2, -1]])
    assert found.distance[0, 0, 1] == pytest.approx(2 - 2 * np.cos(np.deg2rad(10)), abs=1e-6)
    assert np.isinf(found.distance[0, 1, 2])


def test_ties_go_to_the_lower_index_after_the_image_itself():
    features = angles(0, 0, 90, 0, 0)
    one = NeighborSpec(np.zeros(5, np.int32), np.zeros((1, 1), np.int32), 3)
    found = search(features, [one])[0].index[:, 0]
    np.testing.assert_array_equal(found, [[0, 1, 3], [1, 0, 3], [2, 0, 1], [3, 0, 1], [4, 0, 1]])


@pytest.mark.parametrize("ranges", [[(0, 700)], [(0, 1), (1, 350), (350, 699), (699, 700)]])
def test_sharded_search_has_the_bits_of_the_whole(bank, spec, ranges):
    parts = [search_rows(bank.features, [spec], first, last)[0] for first, last in ranges]
    same_lists(concatenate_lists(parts), search(bank.features, [spec])[0])


@pytest.mark.parametrize("size", [256, 512])
def test_search_does_not_depend_on_tile_size_or_threads(bank, spec, size, monkeypatch):
    whole = search(bank.features, [spec], num_threads=2)[0]
    monkeypatch.setattr(tiles, "TILE", size)
    same_lists(search(bank.features, [spec], num_threads=1)[0], whole)
    same_lists(search(bank.features, [spec], num_threads=3)[0], whole)


@pytest.mark.parametrize("preset", ["emcc", "camera_aware"])
def test_backends_find_the_same_lists(bank, preset):
    wanted = build_recipe(bank, parameters(preset)).spec
    exact = search(bank.features, [wanted])[0]
    for found in (
        search_faiss(bank.features, wanted, index="flat"),
        search_torch(bank.features, wanted, device="cpu", block_rows=100),
    ):
        np.testing.assert_array_equal(found.index, exact.index)
        np.testing.assert_allclose(found.distance, exact.distance, atol=2e-6)


def test_torch_breaks_ties_by_index():
    features = angles(0, 0, 90, 0, 0)
    one = NeighborSpec(np.zeros(5, np.int32), np.zeros((1, 1), np.int32), 3)
    same_lists(search_torch(features, one, device="cpu"), search(features, [one])[0])


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_approximate_indexes_find_nearly_all(bank, spec, index):
    lists = search(bank.features, [spec], index=index)[0]
    assert recall_on_sample(bank.features, spec, lists, block_rows=100) > 0.95
    own = lists.index[np.arange(len(bank)), spec.group, 0]
    np.testing.assert_array_equal(own, np.arange(len(bank)))


def test_exact_search_has_recall_one(bank, spec):
    assert recall_on_sample(bank.features, spec, search(bank.features, [spec])[0], block_rows=50) == 1


def test_joined_specs_keep_the_sets_apart(bank):
    rows = [np.flatnonzero(bank.modality == kind).astype(np.int32) for kind in (0, 1)]
    parts = [FeatureBank(bank.features[r], bank.modality[r], bank.camera[r]) for r in rows]
    specs = [build_recipe(part, parameters("emcc")).spec for part in parts]
    joined = search(bank.features, [join_specs(specs, rows, len(bank))])[0]
    for members, part, own in zip(rows, parts, specs, strict=True):
        alone = search(part.features, [own])[0]
        np.testing.assert_array_equal(joined.subset(members, len(bank)).index[:, : own.num_slots], alone.index)


@pytest.mark.parametrize("arguments", [{"index": "annoy"}, {"backend": "magic"}])
def test_unknown_search_is_named(bank, spec, arguments):
    with pytest.raises(ValueError, match="choose"):
        search(bank.features, [spec], **arguments)


@pytest.mark.parametrize("preset", PRESETS)
def test_sharded_stages_have_the_bits_of_the_whole(bank, preset):
    recipe = build_recipe(bank, parameters(preset))
    ranges = [(0, 3), (3, 3), (3, 401), (401, 700)]
    lists = search(bank.features, [recipe.spec])[0]
    near = encoding_lists(recipe, lists)
    half = half_range(near, recipe)
    encoding = concatenate_rows([encode_range(bank.features, near, half, recipe, a, b) for a, b in ranges])
    same_rows(encoding, encode_all(bank.features, lists, recipe, num_threads=2))
    fused = concatenate_rows([extend_range(encoding, lists, recipe, a, b) for a, b in ranges])
    same_rows(fused, extend_range(encoding, lists, recipe, 0, len(bank), num_threads=1))
    inverted = inverted_index(fused, len(bank))
    graph = concatenate_rows([jaccard_range(fused, inverted, 0.6, a, b) for a, b in ranges])
    same_rows(graph, jaccard_range(fused, inverted, 0.6, 0, len(bank), num_threads=3))
    sums = np.add.reduceat(fused.value, fused.indptr[:-1])
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_jaccard_by_hand():
    # E = [1, 0, 0], [.5, .5, 0], [1, 0, 0]: overlaps .5 (J = 2/3) and 1 (J = 0)
    fused = SparseRows(np.array([0, 1, 3, 4]), np.array([0, 0, 1, 0], np.int32), np.array([1, 0.5, 0.5, 1], np.float32))
    graph = jaccard_rows(fused, inverted_index(fused, 3), 0.7, np.arange(3, dtype=np.int32))
    expected = np.array([[0, 2 / 3, 0], [2 / 3, 0, 2 / 3], [0, 2 / 3, 0]])
    assert graph.csr(3).nnz == 9
    np.testing.assert_allclose(graph.csr(3).toarray(), expected, atol=1e-7)
    close = jaccard_rows(fused, inverted_index(fused, 3), 0.5, np.arange(3, dtype=np.int32))
    np.testing.assert_array_equal(close.index, [0, 2, 1, 0, 2])
    pairs = np.array([[0, 1], [0, 2]], np.int32)
    np.testing.assert_allclose(pair_jaccard(fused, pairs), [2 / 3, 0], atol=1e-7)


def test_jaccard_is_symmetric_and_pairs_have_its_bits(bank):
    recipe = build_recipe(bank, parameters("emcc"))
    lists = search(bank.features, [recipe.spec])[0]
    fused = extend_range(encode_all(bank.features, lists, recipe), lists, recipe, 0, len(bank))
    graph = jaccard_range(fused, inverted_index(fused, len(bank)), 0.8, 0, len(bank)).csr(len(bank))
    assert abs(graph - graph.T).max() == 0
    entries = graph.tocoo()
    off = entries.row != entries.col
    pairs = np.stack([entries.row, entries.col], axis=1)[off].astype(np.int32)
    np.testing.assert_array_equal(pair_jaccard(fused, pairs), entries.data[off])


def test_rows_that_outgrow_their_room_are_kept_whole():
    def kernel(row, indptr, index, value):
        while row < 50:
            if indptr[row] + row > len(index):
                return row
            index[indptr[row] : indptr[row] + row] = np.arange(row)
            value[indptr[row] : indptr[row] + row] = row
            indptr[row + 1] = indptr[row] + row
            row += 1
        return row

    rows = fill_rows(kernel, 50, entries_per_row=1)
    assert len(rows.index) == 49 * 50 // 2
    np.testing.assert_array_equal(rows.index[rows.indptr[30] : rows.indptr[31]], np.arange(30))
    assert (rows.value[rows.indptr[30] : rows.indptr[31]] == 30).all()


def test_row_ranges_cover_each_row_once():
    for start, stop in ((0, 0), (0, 1), (5, 100_000)):
        ranges = row_ranges(start, stop, 4)
        assert [a for a, _ in ranges] == [start] + [b for _, b in ranges[:-1]]
        assert ranges[-1][1] == stop


def test_labels_by_hand():
    # a chain 0-1-2 of cores, 3 a border of it, 4 alone
    dense = np.full((5, 5), 9.0)
    np.fill_diagonal(dense, 0)
    for a, b in ((0, 1), (1, 2), (0, 2), (2, 3)):
        dense[a, b] = dense[b, a] = 0.3
    row, column = np.nonzero(dense < 1)
    graph = SparseRows(
        np.concatenate([[0], np.bincount(row).cumsum()]), column.astype(np.int32), dense[row, column].astype(np.float32)
    )
    labels, num_clusters = dbscan_labels(graph, eps=0.5, min_samples=3)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, -1])
    assert num_clusters == 1
    labels, num_clusters = dbscan_labels(graph, eps=0.5, min_samples=6)
    assert num_clusters == 0
    assert (labels == -1).all()


def test_selected_pairs_are_mutual_close_and_of_both_modalities():
    features = angles(0, 40, 2, 41, 100)
    modality = np.array([0, 0, 1, 1, 1], np.int32)
    lists = search(features, [other_modality_spec(modality, 1)])[0]
    np.testing.assert_array_equal(lists.index[:, 0, 0], [2, 3, 0, 1, 1])
    rows = np.array([0, 0, 0, 1, 1], np.int32)  # 0, 1, 2 share their encoding, so do 3 and 4
    fused = SparseRows(np.arange(6), rows, np.ones(5, np.float32))
    near = select_pairs(fused, lists, modality, SelectionParameters(1, 0.5))
    np.testing.assert_array_equal(near, [[0, 2]])
    every = select_pairs(fused, lists, modality, SelectionParameters(1, 1.0))
    np.testing.assert_array_equal(every, [[0, 2], [1, 3]])
