"""Centring: by hand, against Python's whole numbers, and what it must not depend on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.clustering.centring import centred
from ecul.clustering.pipeline import check_bank, cluster
from ecul.types import ClusteringParameters, FeatureBank
from tests.ecul.clustering.small import angles
from tests.parity.literal_clustering import centre


def bank_of(features, modality, camera):
    return FeatureBank(features, np.array(modality, np.int32), np.array(camera, np.int32))


def test_by_hand():
    # camera 0: the axes, whose mean is (.5, .5); camera 1: one image alone; camera 0 of infrared: another group
    features = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1], [0, -1]], np.float32)
    bank = bank_of(features, [0, 0, 0, 1, 1], [0, 0, 1, 0, 0])
    diagonal = 0.5**0.5
    expected = [[diagonal, -diagonal], [-diagonal, diagonal], [0.6, 0.8], [0, 1], [0, -1]]
    np.testing.assert_allclose(centred(bank, "camera").features, expected, atol=1e-7)
    assert centred(bank, "none") is bank
    shifted = features[:3].astype(float) - [1.6 / 3, 1.8 / 3]
    shifted /= np.linalg.norm(shifted, axis=1, keepdims=True)
    np.testing.assert_allclose(centred(bank, "modality").features[:3], shifted, atol=1e-7)


def test_it_takes_away_what_a_camera_adds():
    """Two people under two cameras that shift everything: neighbours are of the same camera before, not after."""
    people = np.array([[1, 0, 0], [1, 0.2, 0]], np.float64)
    features = np.concatenate([people + np.array([0, 0, shift]) for shift in (-1.0, 1.0)])
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    after = centred(bank_of(features, [0] * 4, [0, 0, 1, 1]), "camera").features
    assert (features @ features.T)[0].argsort()[-2] == 1
    assert (after @ after.T)[0].argsort()[-2] == 2


@st.composite
def banks(draw):
    num = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    features = rng.standard_normal((num, 5)).astype(np.float32) + np.float32(draw(st.sampled_from([0, 1, 20])))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    if draw(st.booleans()):
        features = features[rng.integers(0, num, num)]
    return bank_of(features, rng.integers(0, 2, num), rng.integers(0, 3, num))


@settings(max_examples=60, deadline=None)
@given(bank=banks(), centring=st.sampled_from(["camera", "modality"]), seed=st.integers(0, 10**6))
def test_bits_equal_the_literal_version_in_any_order_of_the_images(bank, centring, seed):
    found = centred(bank, centring)
    check_bank(found)
    np.testing.assert_array_equal(found.features, centre(bank.features, bank.modality, bank.camera, centring))
    order = np.random.default_rng(seed).permutation(len(bank))
    moved = FeatureBank(bank.features[order], bank.modality[order], bank.camera[order])
    np.testing.assert_array_equal(centred(moved, centring).features, found.features[order])


def test_a_clustering_centres_by_itself():
    bank = bank_of(angles(*range(0, 60, 3)), [0, 1] * 10, [0] * 10 + [1] * 10)
    for centring in ("camera", "modality"):
        own = ClusteringParameters("kreciprocal", 0.6, 2, k1=6, k2=2, centring=centring)
        plain = ClusteringParameters("kreciprocal", 0.6, 2, k1=6, k2=2)
        found, expected = cluster(bank, own), cluster(centred(bank, centring), plain)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert (found.graph != expected.graph).nnz == 0


def test_unknown_groups_are_named():
    with pytest.raises(ValueError, match="got centring 'person'; choose none or modality or camera"):
        centred(bank_of(angles(0), [0], [0]), "person")
