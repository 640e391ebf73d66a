import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.errors import ConfigError, DataError
from ecul.evaluation import ranking, ties
from ecul.evaluation.ranking import RULES, evaluate_ranking

GOLDEN = Path(__file__).parents[2] / "golden" / "evaluation.npz"


def random_ranking(seed, *, num_queries=12, num_gallery=17, ties=False):
    rng = np.random.default_rng(seed)
    distance = rng.random((num_queries, num_gallery))
    if ties:
        distance = np.round(distance * 4) / 4
    query_id, gallery_id = rng.integers(0, 6, num_queries), rng.integers(0, 6, num_gallery)
    query_id[0] = gallery_id[0]
    return distance, query_id, gallery_id, rng.integers(3, 5, num_queries), rng.integers(1, 4, num_gallery)


def is_excluded(rule, query_id, gallery_id, query_camera, gallery_camera):
    same_room = rule == "sysu" and query_camera == 3 and gallery_camera == 2
    same_scene = rule == "llcm" and query_id == gallery_id and query_camera == gallery_camera
    return same_room or same_scene


def literal_metrics(distance, query_id, gallery_id, query_camera, gallery_camera, *, rule, num_ranks=20):
    """Query by query, as the protocols read."""
    curves, precisions, penalties = [], [], []
    for q in range(len(query_id)):
        order = sorted(range(len(gallery_id)), key=lambda g: (distance[q, g], g))
        ids = [
            gallery_id[g]
            for g in order
            if not is_excluded(rule, query_id[q], gallery_id[g], query_camera[q], gallery_camera[g])
        ]
        hits = [place for place, identity in enumerate(ids, start=1) if identity == query_id[q]]
        if not hits:
            continue
        ranked = ids if rule == "regdb" else list(dict.fromkeys(ids))
        first = ranked.index(query_id[q]) + 1
        curves.append([rank >= first for rank in range(1, num_ranks + 1)])
        precisions.append(np.mean([n / place for n, place in enumerate(hits, start=1)]))
        penalties.append(len(hits) / hits[-1])
    return np.mean(curves, axis=0), np.mean(precisions), np.mean(penalties)


@pytest.mark.parametrize("rule", RULES)
def test_public_figures_are_reproduced(rule):
    golden = dict(np.load(GOLDEN))
    query_camera = golden["llcm_query_camera" if rule == "llcm" else "query_camera"]
    got = evaluate_ranking(
        golden["distance"],
        golden["query_id"],
        golden["gallery_id"],
        query_camera,
        golden["gallery_camera"],
        rule=rule,
    )
    np.testing.assert_allclose(got["cmc"], golden[f"{rule}_cmc"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(got["map"], golden[f"{rule}_map"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(got["minp"], golden[f"{rule}_minp"], atol=1e-6, rtol=0)


def one_query(gallery_id, gallery_camera, *, rule, query_camera=3):
    """Figures of one query of identity 7 against a gallery listed from near to far."""
    num_gallery = len(gallery_id)
    return evaluate_ranking(
        np.arange(num_gallery, dtype=np.float64)[None],
        np.array([7]),
        np.array(gallery_id),
        np.array([query_camera]),
        np.array(gallery_camera),
        rule=rule,
        num_ranks=4,
    )


def test_image_ranks_by_hand():
    got = one_query([1, 1, 7, 2, 7], [1] * 5, rule="regdb")
    assert got["cmc"].tolist() == [0, 0, 1, 1]
    assert got["map"] == pytest.approx((1 / 3 + 2 / 5) / 2)
    assert got["minp"] == pytest.approx(2 / 5)


def test_identity_ranks_count_every_identity_once():
    assert one_query([1, 1, 7, 2, 7], [1] * 5, rule="sysu")["cmc"].tolist() == [0, 1, 1, 1]


def test_camera_three_does_not_see_camera_two():
    assert one_query([7, 1, 7], [2, 2, 1], rule="sysu")["cmc"].tolist() == [1, 1, 1, 1]
    assert one_query([7, 1, 7], [2, 1, 1], rule="sysu")["map"] == pytest.approx(1 / 2)
    assert one_query([7, 1, 7], [2, 1, 1], rule="sysu", query_camera=6)["map"] == pytest.approx((1 + 2 / 3) / 2)


def test_the_same_scene_is_left_out_under_llcm():
    got = one_query([7, 1, 1, 7], [3, 3, 4, 4], rule="llcm")
    assert got["cmc"].tolist() == [0, 1, 1, 1]
    assert got["map"] == pytest.approx(1 / 3)


def test_queries_without_a_match_are_not_counted():
    distance, *_ = random_ranking(0, num_queries=2, num_gallery=2)
    ids, cameras = np.array([1, 2]), np.array([1, 1])
    got = evaluate_ranking(distance, np.array([1, 9]), ids, cameras, cameras, rule="regdb")
    alone = evaluate_ranking(distance[:1], np.array([1]), ids, cameras[:1], cameras, rule="regdb")
    assert got["map"] == alone["map"]
    assert got["cmc"].tolist() == alone["cmc"].tolist()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("rule", RULES)
def test_figures_equal_a_literal_loop(rule, seed):
    arrays = random_ranking(seed)
    try:
        got = evaluate_ranking(*arrays, rule=rule)
    except DataError:
        with pytest.warns(RuntimeWarning):
            assert np.isnan(literal_metrics(*arrays, rule=rule)[1])
        return
    for value, expected in zip((got["cmc"], got["map"], got["minp"]), literal_metrics(*arrays, rule=rule), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("rule", RULES)
def test_ties_count_as_the_mean_over_all_orders_of_the_gallery(rule, seed):
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 3, (1, 6)) / 2
    gallery_id, gallery_camera = rng.integers(0, 3, 6), rng.integers(1, 4, 6)
    query = np.array([gallery_id[0]]), np.array([3])
    gallery_camera[0] = 1
    got = evaluate_ranking(distance, query[0], gallery_id, query[1], gallery_camera, rule=rule)
    literal = [
        literal_metrics(distance[:, o], query[0], gallery_id[o], query[1], gallery_camera[o], rule=rule)
        for order in itertools.permutations(range(6))
        for o in [list(order)]
    ]
    for value, expected in zip((got["cmc"], got["map"], got["minp"]), zip(*literal, strict=True), strict=True):
        np.testing.assert_allclose(value, np.mean(expected, axis=0), atol=1e-12)
    differ = any(not np.array_equal(cmc, literal[0][0]) or (ap, inp) != literal[0][1:] for cmc, ap, inp in literal)
    assert got["num_tied"] >= differ


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_the_gallery_counts_for_nothing(rule):
    distance, query_id, gallery_id, query_camera, gallery_camera = random_ranking(3, num_gallery=40, ties=True)
    order = np.random.default_rng(0).permutation(40)
    got = evaluate_ranking(distance, query_id, gallery_id, query_camera, gallery_camera, rule=rule)
    moved = evaluate_ranking(
        distance[:, order], query_id, gallery_id[order], query_camera, gallery_camera[order], rule=rule
    )
    assert 0 < got["num_tied"] == moved["num_tied"]
    np.testing.assert_allclose(moved["cmc"], got["cmc"], atol=1e-12)
    np.testing.assert_allclose((moved["map"], moved["minp"]), (got["map"], got["minp"]), atol=1e-12)


def test_an_identity_among_many_equally_far_is_as_likely_at_every_rank():
    cmc = ties.hits_of_identities(0, 1, [1] * 2999, 20)
    np.testing.assert_allclose(cmc, np.arange(1, 21) / 3000, rtol=1e-9)
    np.testing.assert_allclose(ties.hits_of_identities(3, 40, [40] * 95, 20)[3:], np.arange(1, 18) / 96, rtol=1e-9)
    assert ties.hits_of_identities(30, 1, [1], 20).tolist() == [0] * 20


def test_queries_and_those_that_count_for_nothing_are_counted():
    distance, query_id, *rest = random_ranking(0)
    query_id[3:5] = 99
    got = evaluate_ranking(distance, query_id, *rest, rule="regdb")
    assert (got["num_queries"], got["num_unmatched"], got["num_tied"]) == (12, 2, 0)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("rule", RULES)
def test_figures_are_fractions_and_unmoved_by_increasing_maps_and_query_order(rule, seed):
    distance, query_id, *rest = random_ranking(seed, num_gallery=40)
    gallery_id, query_camera, gallery_camera = rest
    got = evaluate_ranking(distance, query_id, gallery_id, query_camera, gallery_camera, rule=rule)
    order = np.random.default_rng(seed).permutation(len(query_id))
    moved = evaluate_ranking(
        np.exp(3 * distance[order]) - 5, query_id[order], gallery_id, query_camera[order], gallery_camera, rule=rule
    )
    assert (np.diff(got["cmc"]) >= 0).all()
    assert got["cmc"][0] >= 0
    assert got["cmc"][-1] <= 1
    assert 0 <= got["minp"] <= 1
    assert 0 <= got["map"] <= 1
    np.testing.assert_allclose(moved["cmc"], got["cmc"])
    assert moved["map"] == pytest.approx(got["map"])
    assert moved["minp"] == pytest.approx(got["minp"])


@pytest.mark.parametrize("rule", RULES)
def test_chunks_do_not_show(rule, monkeypatch):
    arrays = random_ranking(5, num_queries=30)
    whole = evaluate_ranking(*arrays, rule=rule)
    monkeypatch.setattr(ranking, "_CHUNK_ELEMENTS", 40)
    parts = evaluate_ranking(*arrays, rule=rule)
    assert parts["cmc"].tolist() == whole["cmc"].tolist()
    assert parts["map"] == whole["map"]


def test_ranks_beyond_the_gallery_are_full():
    assert evaluate_ranking(*random_ranking(1, num_gallery=3), rule="regdb")["cmc"][3:].tolist() == [1.0] * 17


def test_bad_input_is_refused():
    distance, query_id, gallery_id, *cameras = random_ranking(0)
    with pytest.raises(DataError, match="NaN"):
        evaluate_ranking(np.full_like(distance, np.nan), query_id, gallery_id, *cameras, rule="sysu")
    with pytest.raises(DataError, match="none of the 12 queries"):
        evaluate_ranking(distance, query_id + 100, gallery_id, *cameras, rule="sysu")
    with pytest.raises(DataError, match="among the 0 gallery images"):
        evaluate_ranking(distance[:, :0], query_id, gallery_id[:0], cameras[0], cameras[1][:0], rule="llcm")
    with pytest.raises(ConfigError, match="'market' is unknown"):
        evaluate_ranking(distance, query_id, gallery_id, *cameras, rule="market")
