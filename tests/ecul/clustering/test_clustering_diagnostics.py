"""Quality and silhouette against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from ecul.bench.clustering import exponent, simulated, with_peak
from ecul.bench.simulate import sysu_counts
from ecul.clustering.diagnostics import adjusted_rand_index, mean_silhouette
from ecul.clustering.sparse import ONE, SparseRows, inverted_index
from ecul.data.synthetic.presence import SYSU_MODALITY


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40))
def test_agreement_equals_scikit_learn(pairs):
    first, second = np.array(pairs).T
    assert adjusted_rand_index(first, second) == pytest.approx(adjusted_rand_score(first, second))


def test_noise_counts_as_clusters_of_one():
    labels, identity = np.array([0, 0, -1, -1]), np.array([5, 5, 7, 8])
    assert adjusted_rand_index(labels, identity) == 1
    assert adjusted_rand_index(np.array([-1, -1]), np.array([0, 0])) == pytest.approx(0)


def test_silhouette_equals_scikit_learn():
    rng = np.random.default_rng(2)
    dense = rng.random((60, 12)) * (rng.random((60, 12)) < 0.5)
    dense[np.arange(60), rng.integers(0, 12, 60)] += 1
    dense = (dense / dense.sum(1, keepdims=True)).astype(np.float32)
    row, column = np.nonzero(dense)
    weights = np.rint(dense[row, column] * ONE).astype(np.int32)
    fused = SparseRows(np.concatenate([[0], np.bincount(row).cumsum()]), column.astype(np.int32), weights)
    labels = rng.integers(-1, 4, 60).astype(np.int32)
    overlap = np.minimum(dense[:, None], dense).sum(-1)
    distance = np.maximum(1 - overlap / (2 - overlap), 0)
    np.fill_diagonal(distance, 0)
    kept = labels >= 0
    expected = silhouette_score(distance[kept][:, kept], labels[kept], metric="precomputed")
    assert mean_silhouette(labels, 4, fused, inverted_index(fused, 12)) == pytest.approx(expected, abs=1e-5)


def test_sysu_counts_are_the_real_totals():
    counts = sysu_counts(34_167)
    np.testing.assert_array_equal(counts.sum(1), [4721, 5753, 7909, 5811, 5973, 4000])
    assert counts.shape == (6, 395)
    visible = np.array(SYSU_MODALITY) == 0
    assert (counts[visible].sum(), counts[~visible].sum()) == (22_258, 11_909)
    assert sysu_counts(1_000).sum() == 1_000
    assert sysu_counts(50_000).sum() == 50_000


def test_simulation_repeats_and_is_of_unit_length():
    first, second = simulated(300, 16, "3", 4), simulated(300, 16, "3", 4)
    np.testing.assert_array_equal(first[0].features, second[0].features)
    np.testing.assert_allclose(np.linalg.norm(first[0].features, axis=1), 1, atol=1e-5)
    assert len(first[1]) == 300


def test_peak_memory_sees_an_array():
    result, peak = with_peak(lambda: np.ones(30_000_000).sum())
    assert result == 30_000_000
    assert 150 < peak < 400


def test_exponent_of_a_square_law():
    from ecul.bench.clustering import Measured

    runs = [
        Measured(size, {"search": size**2 / 1e6}, {"search": size / 1e6}, 0.0, 0, {}) for size in (1000, 2000, 8000)
    ]
    assert exponent(runs, "search") == pytest.approx(2)
    assert exponent(runs, "search", cpu=True) == pytest.approx(1)
