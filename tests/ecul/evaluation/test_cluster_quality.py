"""Agreement of labels with identities, by hand and by counting the pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.evaluation.cluster_quality import label_quality


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=30))
def test_pair_metrics_equal_counting_the_pairs(rows):
    labels, identity, modality = np.array(rows, np.int32).T
    upper = np.triu(np.ones((len(labels),) * 2, bool), 1)
    made = (labels[:, None] == labels) & (labels >= 0) & upper
    true = (identity[:, None] == identity) & upper
    cross = modality[:, None] != modality
    found = label_quality(labels, identity, modality)
    for name, mask in (("pair", upper), ("cross", cross)):
        right = (made & true & mask).sum()
        assert found[f"{name}_precision"] == pytest.approx(right / max((made & mask).sum(), 1))
        assert found[f"{name}_recall"] == pytest.approx(right / max((true & mask).sum(), 1))


def test_noise_counts_as_clusters_of_one():
    modality = np.array([0, 1, 0, 1])
    quality = label_quality(np.array([0, 0, -1, -1]), np.array([5, 5, 7, 8]), modality)
    assert (quality["ari"], quality["nmi"], quality["pair_precision"], quality["cross_recall"]) == (1, 1, 1, 1)
    nothing = label_quality(np.full(40, -1), np.zeros(40, np.int64), np.zeros(40, np.int64))
    assert nothing["ari"] == pytest.approx(0)
    assert (nothing["pair_precision"], nothing["pair_recall"]) == (0, 0)


def test_one_merged_pair_of_strangers_by_hand():
    # clusters {a a' b}, {b'}: of 3 pairs made 1 is right, of 2 true pairs 1 is made; a' and b are infrared
    labels, identity = np.array([0, 0, 0, 1]), np.array([1, 1, 2, 2])
    quality = label_quality(labels, identity, np.array([0, 1, 1, 0]))
    assert quality["pair_precision"] == pytest.approx(1 / 3)
    assert quality["pair_recall"] == pytest.approx(1 / 2)
    assert quality["cross_precision"] == pytest.approx(1 / 2)
    assert quality["cross_recall"] == pytest.approx(1 / 2)
