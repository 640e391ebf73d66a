"""Each stage after the search: cases by hand, and independence of ranges and threads."""

import numpy as np
import pytest

from ecul.bench.simulate import even_counts, modality_of_groups, simulate_bank
from ecul.clustering import jaccard
from ecul.clustering.dbscan import dbscan_labels
from ecul.clustering.encoding import weight_of
from ecul.clustering.fusion import fusion_pattern
from ecul.clustering.jaccard import jaccard_rows, pair_jaccard
from ecul.clustering.presets import build_recipe
from ecul.clustering.ranges import encode_range, encoding_inputs, extend_range, jaccard_range
from ecul.clustering.search.lists import NeighborLists
from ecul.clustering.search.search import search
from ecul.clustering.selection import other_modality_spec, select_pairs
from ecul.clustering.sparse import (
    ONE,
    SparseRows,
    concatenate_rows,
    fill_rows,
    first_heavy_columns,
    inverted_index,
    row_ranges,
)
from ecul.types import ClusteringParameters, FeatureBank, SelectionParameters
from tests.ecul.clustering.small import PRESETS, angles, parameters


def in_fixed_point(*weights):
    return (np.array(weights) * ONE).astype(np.int32)


@pytest.fixture(scope="module")
def bank():
    return simulate_bank(even_counts(700, 6, images_per_identity=40), modality_of_groups(6), 32, seed=1)[0]


def lists_of(bank, recipe):
    return search(bank.features, recipe.specs)[0]


def fused_of(bank, recipe):
    lists = lists_of(bank, recipe)
    inputs = encoding_inputs(lists[0], recipe)
    encoding = encode_range(bank, inputs, recipe, None, 0, len(bank))
    return extend_range(encoding, lists[-1], recipe, None, 0, len(bank))


def fill_rows_of(rows):
    """Sparse rows of weights, each given as {column: weight}."""
    indptr = np.cumsum([0, *map(len, rows)])
    index = np.array([column for row in rows for column in row], np.int32)
    return SparseRows(indptr, index, in_fixed_point(*(weight for row in rows for weight in row.values())))


def same_rows(first, second):
    for name in ("indptr", "index", "value"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("preset", PRESETS)
def test_sharded_stages_have_the_bits_of_the_whole(bank, preset):
    recipe = build_recipe(bank, parameters(preset))
    ranges = [(0, 3), (3, 3), (3, 401), (401, 700)]
    lists = lists_of(bank, recipe)
    inputs = encoding_inputs(lists[0], recipe)
    encoding = concatenate_rows([encode_range(bank, inputs, recipe, None, a, b) for a, b in ranges])
    same_rows(encoding, encode_range(bank, inputs, recipe, 2, 0, len(bank)))
    fused = concatenate_rows([extend_range(encoding, lists[-1], recipe, None, a, b) for a, b in ranges])
    same_rows(fused, extend_range(encoding, lists[-1], recipe, 1, 0, len(bank)))
    inverted = inverted_index(fused, len(bank))
    graph = concatenate_rows([jaccard_range(fused, inverted, 0.6, None, a, b) for a, b in ranges])
    same_rows(graph, jaccard_range(fused, inverted, 0.6, 3, 0, len(bank)))
    for rows in (encoding, fused):
        np.testing.assert_allclose(np.add.reduceat(rows.value, rows.indptr[:-1]) / ONE, 1, atol=1e-6)


def pattern_of(modality, camera, parameters, row):
    """Weight of each image in the fused encoding of image 0, whose list of all images is `row`."""
    num = len(modality)
    bank = FeatureBank(np.empty((num, 0), np.float32), np.array(modality, np.int32), np.array(camera, np.int32))
    index = np.full((num, 1, len(row)), -1, np.int32)
    index[0, 0] = row
    found = fusion_pattern(build_recipe(bank, parameters), NeighborLists(index, index * np.float32(0)), np.arange(1))
    weights = np.zeros(num)
    weights[found.index[0][found.index[0] >= 0]] = found.weight[0][found.index[0] >= 0] / ONE
    return weights


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # cameras: visible 0 (images 0, 1, 2), visible 1 (3), infrared 2 (4, 5); the window ends before 5
        ({"k2": 2, "k3": 5}, [1 / 8, 1 / 8, 0, 1 / 4, 1 / 2, 0]),
        ({"k2": 9, "k3": 5}, [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2, 0]),
        ({"k2": 2, "k3": 5, "balance": "groups"}, [1 / 6, 1 / 6, 0, 1 / 3, 1 / 3, 0]),
        ({"k2": 2, "k3": 5, "groups": "modality"}, [1 / 4, 1 / 4, 0, 0, 1 / 2, 0]),
        ({"k2": 2, "k3": 3}, [1 / 2, 1 / 2, 0, 0, 0, 0]),  # no image of the other groups is near: no vote
        ({"k2": 9, "k3": 9, "k1": 4}, [1 / 6, 1 / 6, 1 / 6, 1 / 2, 0, 0]),  # the lists hold k1 images
        ({"k2": 1, "k3": 5}, [1, 0, 0, 0, 0, 0]),  # as in the public code: not expanded at all
    ],
)
def test_a_quota_in_a_window_by_hand(options, expected):
    parameters = ClusteringParameters("camera_quota", **{"k1": 6, **options})
    found = pattern_of([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 2, 2], parameters, [0, 1, 2, 3, 4, 5])
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_a_quota_takes_all_copies_of_a_frame():
    bank = FeatureBank(np.empty((4, 0), np.float32), np.zeros(4, np.int32), np.zeros(4, np.int32))
    recipe = build_recipe(
        bank, ClusteringParameters("camera_quota", k1=9, k2=2, k3=8), np.array([1, 3, 1, 1], np.int32)
    )
    index = np.array([[[0, 1, 2, 3]]], np.int32)
    found = fusion_pattern(recipe, NeighborLists(index, index * np.float32(0)), np.arange(1))
    assert found.index.tolist() == [[0, 1, -1, -1]]  # image 0 and, as the second, a frame that is there three times
    np.testing.assert_allclose(found.weight[0] / ONE, [1 / 4, 3 / 4, 0, 0], atol=1e-8)


def test_jaccard_by_hand():
    # E = [1, 0, 0], [.5, .5, 0], [1, 0, 0]: overlaps .5 (J = 2/3) and 1 (J = 0)
    fused = SparseRows(np.array([0, 1, 3, 4]), np.array([0, 0, 1, 0], np.int32), in_fixed_point(1, 0.5, 0.5, 1))
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
    fused = fused_of(bank, recipe)
    graph = jaccard_range(fused, inverted_index(fused, len(bank)), 0.8, None, 0, len(bank)).csr(len(bank))
    assert abs(graph - graph.T).max() == 0
    entries = graph.tocoo()
    off = entries.row != entries.col
    pairs = np.stack([entries.row, entries.col], axis=1)[off].astype(np.int32)
    np.testing.assert_array_equal(pair_jaccard(fused, pairs), entries.data[off])


def num_postponed(fused, inverted, eps, longest):
    """Rows with short and long columns whose long ones weigh too little to decide."""
    is_long = (np.diff(inverted.indptr) > longest)[fused.index]
    rows = np.repeat(np.arange(len(fused)), np.diff(fused.indptr))
    weight = np.bincount(rows, weights=fused.value * is_long, minlength=len(fused))
    long, all_columns = np.bincount(rows, weights=is_long, minlength=len(fused)), np.diff(fused.indptr)
    return int(((weight < jaccard.least_overlap(np.float32(eps))) & (long > 0) & (long < all_columns)).sum())


@pytest.mark.parametrize("eps", [0.0, 0.3, 0.6, 0.95, 0.9999999])
def test_columns_that_many_images_hold_change_the_cost_alone(bank, eps, monkeypatch):
    recipe = build_recipe(bank, parameters("emcc"))
    fused = fused_of(bank, recipe)
    inverted = inverted_index(fused, len(bank))
    graphs = []
    for share, least in ((10**6, 10**6), (1, 0), (0, 0), (2, 8)):  # none postponed; long ones; all; some
        monkeypatch.setattr(jaccard, "_LONG_LIST", share)
        monkeypatch.setattr(jaccard, "_SHORTEST_LONG_LIST", least)
        graphs.append(jaccard_range(fused, inverted, eps, 1, 0, len(bank)))
    for graph in graphs[1:]:
        same_rows(graph, graphs[0])
    average = len(fused.index) // len(fused)
    assert num_postponed(fused, inverted, eps, average) > 0 or eps > 0.9


def test_rows_without_an_entry_have_no_distance(monkeypatch):
    monkeypatch.setattr(jaccard, "_LONG_LIST", 0)
    monkeypatch.setattr(jaccard, "_SHORTEST_LONG_LIST", 1)
    rows = fill_rows_of([{0: 0.5, 1: 0.5}, {}, {0: 0.5, 2: 0.5}])
    graph = jaccard_range(rows, inverted_index(rows, 3), 0.7, 1, 0, 3)
    assert (graph.indptr.tolist(), graph.index.tolist()) == ([0, 2, 2, 4], [0, 2, 0, 2])
    assert graph.value[1] == graph.value[2] == pytest.approx(2 / 3)


@pytest.mark.parametrize("eps", [0.0, 0.001, 0.3, 0.6, 0.999])
def test_the_least_overlap_is_the_border(eps):
    least = jaccard.least_overlap(np.float32(eps))
    assert jaccard.jaccard_distance(least) <= np.float32(eps)
    assert least == 0 or jaccard.jaccard_distance(least - 1) > np.float32(eps)


def test_a_row_is_visited_by_its_first_heavy_column():
    rows = fill_rows_of([{0: 0.1, 3: 0.5, 5: 0.4}, {}, {2: 1.0}])
    assert first_heavy_columns(rows, 0, 3).tolist() == [3, 0, 2]
    assert first_heavy_columns(rows, 2, 3).tolist() == [2]


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

    rows = fill_rows(kernel, 50, entries_per_row=1, dtype=np.int32)
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


def graph_of(num_points, edges):
    dense = np.full((num_points, num_points), 9.0)
    np.fill_diagonal(dense, 0)
    for a, b, distance in edges:
        dense[a, b] = dense[b, a] = distance
    row, column = np.nonzero(dense < 1)
    indptr = np.concatenate([[0], np.bincount(row).cumsum()])
    return SparseRows(indptr, column.astype(np.int32), dense[row, column].astype(np.float32))


@pytest.mark.parametrize(("weight_of_b", "goes_to"), [(5, 0), (6, 1), (7, 1)])
def test_a_border_point_goes_to_the_cluster_of_most_images_then_to_the_nearest(weight_of_b, goes_to):
    # cluster A: 0 1 2, cluster B: 4 5; 3 is near 2 of A and, nearer, near 4 of B
    graph = graph_of(6, [(0, 1, 0.1), (0, 2, 0.1), (1, 2, 0.1), (4, 5, 0.1), (2, 3, 0.4), (3, 4, 0.3)])
    copies = np.array([3, 3, 1, 1, 1, weight_of_b], np.int32)
    labels, num_clusters = dbscan_labels(graph, eps=0.45, min_samples=5, copies=copies)
    assert num_clusters == 2
    assert labels.tolist() == [0, 0, 0, goes_to, 1, 1]


def test_labels_are_numbered_by_the_lowest_core_image():
    graph = graph_of(4, [(0, 1, 0.1), (2, 3, 0.1)])
    first = np.array([9, 7, 8, 1], np.int32)
    assert dbscan_labels(graph, eps=0.2, min_samples=2, first=first)[0].tolist() == [1, 1, 0, 0]


def test_weights_are_the_exponential_rounded_once():
    distance = np.linspace(0, 4, 2001).astype(np.float32)
    found = np.array([weight_of(d) for d in distance])
    np.testing.assert_array_equal(found, np.rint(np.exp(-distance.astype(np.float64)) * ONE))


def test_selected_pairs_are_mutual_close_and_of_both_modalities():
    features = angles(0, 40, 2, 41, 100)
    modality = np.array([0, 0, 1, 1, 1], np.int32)
    lists = search(features, [other_modality_spec(modality, 1)])[0][0]
    np.testing.assert_array_equal(lists.index[:, 0, 0], [2, 3, 0, 1, 1])
    rows = np.array([0, 0, 0, 1, 1], np.int32)  # 0, 1, 2 share their encoding, so do 3 and 4
    fused = SparseRows(np.arange(6), rows, in_fixed_point(1, 1, 1, 1, 1))
    near = select_pairs(fused, lists, modality, np.ones(5, np.int32), SelectionParameters(1, 0.5))
    np.testing.assert_array_equal(near, [[0, 2]])
    every = select_pairs(fused, lists, modality, np.ones(5, np.int32), SelectionParameters(1, 1.0))
    np.testing.assert_array_equal(every, [[0, 2], [1, 3]])
