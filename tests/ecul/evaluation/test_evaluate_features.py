import numpy as np
import pytest

from ecul.data.layouts import PROTOCOLS
from ecul.errors import DataError
from ecul.evaluation.evaluate import chance_level, evaluate, nearest_images, sample_queries, tie_warnings
from ecul.evaluation.protocols import build_trials
from ecul.evaluation.ranking import evaluate_ranking
from ecul.types import LabelledIndex, Modality, SampleIndex


def make_index(num_identities=6, images=3):
    """A test split that every protocol can use: cameras 1, 2, 4, 5 visible, 3 and 6 infrared."""
    rows = [
        (i, c, Modality.INFRARED if c in (3, 6) else Modality.VISIBLE)
        for i in range(num_identities)
        for c in range(1, 7)
        for _ in range(images)
    ]
    identity, camera, modality = (np.array(column, dtype=np.int32) for column in zip(*rows, strict=True))
    return LabelledIndex(SampleIndex(tuple(f"{n}.png" for n in range(len(rows))), modality, camera), identity)


def identity_features(index, *, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    features = np.eye(index.identity.max() + 1)[index.identity] + noise * rng.standard_normal(
        (len(index), index.identity.max() + 1)
    )
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_perfect_embeddings_are_perfect_under_every_protocol(protocol):
    index = make_index()
    result = evaluate(identity_features(index), index, protocol=protocol)
    assert result.protocol == protocol.name
    assert result.cmc.shape == (1 if protocol.num_shots is None else 10, 20)
    assert result.summary()["rank1"] == 1.0
    assert result.summary()["map"] == pytest.approx(1.0)
    assert result.summary()["minp"] == pytest.approx(1.0)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_trials_equal_a_ranking_of_their_own(protocol):
    index = make_index()
    features = identity_features(index, noise=0.8)
    result = evaluate(features, index, protocol=protocol)
    for number, trial in enumerate(build_trials(index, protocol=protocol)):
        expected = evaluate_ranking(
            np.linalg.norm(features[trial.query, None] - features[None, trial.gallery], axis=2).astype(np.float64),
            index.identity[trial.query],
            index.identity[trial.gallery],
            index.samples.camera[trial.query],
            index.samples.camera[trial.gallery],
            rule=trial.rule,
        )
        np.testing.assert_allclose(result.cmc[number], expected["cmc"])
        assert result.mean_average_precision[number] == pytest.approx(expected["map"], abs=1e-6)
        assert result.mean_inverse_negative_penalty[number] == pytest.approx(expected["minp"], abs=1e-6)


@pytest.mark.parametrize("name", ["sysu_all_single", "regdb_visible_to_infrared", "llcm_infrared_to_visible"])
def test_chance_level_is_the_mean_of_random_embeddings(name):
    index, protocol = make_index(), PROTOCOLS[name]
    expected = chance_level(index, protocol=protocol)
    rank1, average_precision = [], []
    for seed in range(60):
        noise = np.random.default_rng(seed).standard_normal((len(index), 16)).astype(np.float32)
        result = evaluate(noise / np.linalg.norm(noise, axis=1, keepdims=True), index, protocol=protocol)
        rank1.append(result.summary()["rank1"])
        average_precision.append(result.summary()["map"])
    assert np.mean(rank1) == pytest.approx(expected["rank1"], abs=0.02)
    assert np.mean(average_precision) == pytest.approx(expected["map"], abs=0.02)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_collapsed_network_is_at_the_level_of_chance(protocol):
    index = make_index()
    row = np.random.default_rng(0).standard_normal(37)
    features = np.tile(row / np.linalg.norm(row), (len(index), 1)).astype(np.float32)
    result = evaluate(features, index, protocol=protocol)
    expected = chance_level(index, protocol=protocol)
    assert result.summary()["map"] == pytest.approx(expected["map"])
    if protocol.rule == "regdb":  # its CMC is over images, as that of a random order of images
        assert result.summary()["rank1"] == pytest.approx(expected["rank1"])
    assert result.tied_share == 1
    assert protocol.name in tie_warnings([result])[0]


def test_copies_in_the_gallery_are_equally_far_wherever_they_stand():
    index = make_index(num_identities=40, images=5)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((7, 2048)).astype(np.float32)
    features = (rows / np.linalg.norm(rows, axis=1, keepdims=True))[rng.integers(0, 7, len(index))]
    protocol = PROTOCOLS["regdb_visible_to_infrared"]
    result = evaluate(features, index, protocol=protocol)
    order = rng.permutation(len(index))
    samples = SampleIndex(
        tuple(index.samples.paths[i] for i in order), index.samples.modality[order], index.samples.camera[order]
    )
    moved = evaluate(features[order], LabelledIndex(samples, index.identity[order]), protocol=protocol)
    np.testing.assert_allclose(moved.cmc, result.cmc, atol=1e-12)
    np.testing.assert_allclose(moved.mean_average_precision, result.mean_average_precision, atol=1e-12)
    assert moved.num_tied.tolist() == result.num_tied.tolist()


def test_unpaired_people_are_counted_and_left_out():
    index = make_index()
    alone = (index.identity == 2) & (index.samples.modality == Modality.VISIBLE)
    kept = np.flatnonzero(~alone)
    samples = SampleIndex(
        tuple(index.samples.paths[i] for i in kept), index.samples.modality[kept], index.samples.camera[kept]
    )
    paired = LabelledIndex(samples, index.identity[kept])
    result = evaluate(identity_features(paired), paired, protocol=PROTOCOLS["sysu_all_single"])
    assert result.num_queries.tolist() == [36] * 10
    assert result.num_unmatched.tolist() == [6] * 10
    assert result.trials()["without_match"] == [6] * 10
    assert result.summary()["rank1"] == 1


def test_chance_level_by_hand():
    samples = SampleIndex(("q", "a", "b"), np.array([0, 1, 1], np.int32), np.array([1, 1, 1], np.int32))
    index = LabelledIndex(samples, np.array([1, 1, 2], np.int32))
    assert chance_level(index, protocol=PROTOCOLS["regdb_visible_to_infrared"]) == {
        "rank1": 0.5,
        "map": pytest.approx(0.75),
    }


def test_nearest_images_agree_with_rank_one_and_skip_what_is_left_out():
    index = make_index()
    features = identity_features(index, noise=0.8)
    trial = build_trials(index, protocol=PROTOCOLS["sysu_all_single"])[0]
    found = nearest_images(features, index, trial.query, protocol=PROTOCOLS["sysu_all_single"], num_nearest=5)
    first = evaluate(features, index, protocol=PROTOCOLS["sysu_all_single"]).cmc[0, 0]
    assert found.correct[:, 0].mean() == pytest.approx(first)
    assert found.nearest.shape == found.correct.shape == (len(trial.query), 5)
    from_camera_three = index.samples.camera[found.query] == 3
    assert not (index.samples.camera[found.nearest[from_camera_three]] == 2).any()
    assert (index.samples.camera[found.nearest[~from_camera_three]] == 2).any()


def test_a_short_gallery_gives_what_every_query_has():
    index = make_index(num_identities=2)
    queries = sample_queries(index, protocol=PROTOCOLS["sysu_indoor_single"], num_queries=8, seed=0)
    found = nearest_images(identity_features(index), index, queries, protocol=PROTOCOLS["sysu_indoor_single"])
    assert found.nearest.shape[1] in (2, 4)
    assert found.correct[:, 0].all()


def test_sampled_queries_are_seeded_and_of_different_identities():
    index = make_index()
    first, again, other = (
        sample_queries(index, protocol=PROTOCOLS["sysu_all_single"], num_queries=4, seed=seed) for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(index.identity[first].tolist())) == 4


def test_an_image_that_is_no_query_is_refused():
    index = make_index()
    with pytest.raises(ValueError, match="image 0 is no query"):
        nearest_images(identity_features(index), index, np.array([0]), protocol=PROTOCOLS["sysu_all_single"])


def test_bad_features_are_refused():
    index = make_index()
    features = identity_features(index)
    with pytest.raises(DataError, match="got 5 embeddings for 108 test images"):
        evaluate(features[:5], index, protocol=PROTOCOLS["sysu_all_single"])
    features[7, 0] = np.nan
    with pytest.raises(DataError, match=r"1 embeddings are not finite \(first: 7\.png\)"):
        evaluate(features, index, protocol=PROTOCOLS["sysu_all_single"])
