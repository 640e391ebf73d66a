"""The sparse engine against reference arrays and against the literal version of every preset."""

import hashlib
import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ecul.clustering.pipeline import cluster
from ecul.clustering.points import find_points
from ecul.parameters import PRESET_DEFAULTS, Preset
from ecul.types import ClusteringParameters, FeatureBank
from tests.parity.literal_clustering import Literal, dbscan, jaccard

DIGESTS = Path(__file__).parents[1] / "golden" / "graphs.json"
GOLDEN = Path(__file__).parents[1] / "golden" / "jaccard.npz"
LINEAGE = Path(__file__).parents[1] / "golden" / "lineage.npz"
NEARLY_ONE = 0.999999
CAMERA_RANGES = ("k1_intra", "k1_inter", "k2_intra", "k2_inter")
KEYS = [
    *(f"kreciprocal_k1_{a}_k2_{b}" for a, b in ((30, 6), (20, 1), (10, 3))),
    *(f"modality_balanced_k1_{a}_k2_{b}" for a, b in ((40, 32), (30, 6))),
    *(f"balanced_neighbours_k1_{a}_k2_{b}" for a, b in ((30, 6), (20, 4))),
    *(f"camera_aware_k1_5_20_k2_{a}_{b}" for a, b in ((2, 4), (3, 3))),
    *(f"emcc_k1_{a}_k2_{b}_k3_{c}" for a, b, c in ((10, 4, 10), (6, 2, 12), (5, 3, 5))),
    "emcc_modality_k1_20_k2_6_k3_30",
]
WINDOWS = {
    **{f"camera_quota_{part}_k1_{k}_kb_{q}": {"k1": k, "k2": q, "k3": 2 * q}
       for part in ("visible", "infrared") for k, q in ((20, 6), (10, 3), (12, 8))},
    **{f"camera_quota_united_k1_{k}_kb_{q}": {"k1": k, "k2": q, "k3": k} for k, q in ((40, 16), (30, 4), (20, 2))},
    **{f"camera_window_united_k1_{k}_k2_{w}": {"k1": k, "k2": w} for k, w in ((40, 32), (30, 12))},
}  # fmt: skip
MIXED = {
    "window_by_groups": {"reading": "window", "reciprocal": "groups", "k1": 10, "k2": 4, "k3": 40},
    "groups_over_all": {"reciprocal": "all", "k1": 40, "k2": 4, "k3": 10},
    "groups_of_modalities": {"balance": "modalities"},
    "centred": {"centring": "camera"},
}


def parameters_of(key, eps):
    numbers = [int(number) for number in re.findall(r"_(\d+)", key)]
    preset = re.match(r"[a-z_]+?(?=_modality_k1|_k1)", key)[0]
    names = CAMERA_RANGES if preset == "camera_aware" else ("k1", "k2", "k3")
    groups = None if preset != "emcc" else "modality" if "emcc_modality" in key else "modality_camera"
    ranges = dict(zip(names, numbers, strict=False))
    return ClusteringParameters(preset=preset, eps=eps, min_samples=4, groups=groups, **ranges)


def dense(graph):
    """A dense copy of a sparse graph, 1 where nothing is stored."""
    out = np.ones(graph.shape, np.float32)
    entries = graph.tocoo()
    out[entries.row, entries.col] = entries.data
    return out


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def golden_bank(golden):
    return FeatureBank(golden["features"], golden["modality"].astype(np.int32), golden["camera"].astype(np.int32))


@pytest.mark.parametrize("key", KEYS)
def test_preset_equals_public_code(golden, golden_bank, key):
    found = dense(cluster(golden_bank, parameters_of(key, NEARLY_ONE)).graph)
    assert np.abs(found[golden["rows"]] - golden[key]).max() <= 2e-6


def window_parameters(key, **options):
    return ClusteringParameters(preset=key[: key.index("_", len("camera_"))], **{"eps": NEARLY_ONE, **options})


@pytest.fixture(scope="module")
def lineage():
    with np.load(LINEAGE) as arrays:
        return {name: arrays[name] for name in arrays.files}


def lineage_bank(lineage, part):
    rows = {"visible": lineage["modality"] == 0, "infrared": lineage["modality"] == 1}.get(part, slice(None))
    return FeatureBank(*(lineage[name][rows].astype(kind) for name, kind in (
        ("features", np.float32), ("modality", np.int32), ("camera", np.int32))))  # fmt: skip


@pytest.mark.parametrize("key", WINDOWS)
def test_window_presets_equal_public_code(lineage, key):
    part = key.split("_")[2]
    bank = lineage_bank(lineage, part)
    found = dense(cluster(bank, window_parameters(key, **WINDOWS[key])).graph)
    assert np.abs(found[lineage[f"rows_{part}"]] - lineage[key]).max() <= 2e-6
    if key.startswith("camera_quota"):
        reading = ClusteringParameters("emcc", NEARLY_ONE, reading="window", **WINDOWS[key])
        np.testing.assert_array_equal(dense(cluster(bank, reading).graph), found)


@pytest.mark.parametrize("key", [*WINDOWS, *MIXED])
def test_newer_graphs_have_the_same_bits_on_every_machine(lineage, key):
    if key in WINDOWS:
        part, parameters = key.split("_")[2], window_parameters(key, **WINDOWS[key], eps=0.6)
    else:
        part, parameters = "united", ClusteringParameters("emcc", **MIXED[key])
    assert digest(cluster(lineage_bank(lineage, part), parameters)) == json.loads(DIGESTS.read_text())[key]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("eps", "row"), [(0.5, 0), (0.6, 1), (0.7, 2)])
def test_labels_equal_dbscan_on_public_distances(golden, golden_bank, key, eps, row):
    labels = cluster(golden_bank, parameters_of(key, eps)).labels
    np.testing.assert_array_equal(labels, golden[f"labels_{key}"][row])


@pytest.mark.parametrize("key", KEYS)
def test_graph_has_the_same_bits_on_every_machine(golden_bank, key):
    """To write the digests anew after a change that means to move the graph: see tests/golden/README.md."""
    assert digest(cluster(golden_bank, parameters_of(key, 0.6))) == json.loads(DIGESTS.read_text())[key]


def digest(result):
    """SHA-256 of the labels and the graph, as little-endian bytes."""
    graph = result.graph
    parts = (
        result.labels.astype("<i4"),
        graph.indptr.astype("<i8"),
        graph.indices.astype("<i4"),
        graph.data.astype("<f4"),
    )
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@st.composite
def banks(draw):
    """Small banks: with many exact ties and duplicates, or without; one or several groups, some of them tiny."""
    num = draw(st.integers(1, 36))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    if draw(st.booleans()):  # four entries of +-1/2: unit rows whose products are exact, so distances tie exactly
        features = np.zeros((num, 6), np.float32)
        for row in features:
            row[rng.permutation(6)[:4]] = rng.choice([-0.5, 0.5], 4)
    else:
        features = rng.standard_normal((num, 7)).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    if draw(st.booleans()):
        features = features[rng.integers(0, num, num)]
    modality = rng.integers(0, draw(st.integers(1, 2)), num).astype(np.int32)
    camera = rng.choice(draw(st.integers(1, 4)), num).astype(np.int32)
    return FeatureBank(features, modality, camera)


RANGE = st.integers(1, 12)
OPTIONS = {
    "groups": ["modality", "modality_camera"],
    "reading": ["groups", "window"],
    "reciprocal": [None, "groups", "all"],
    "balance": [None, "groups", "modalities"],
}


@st.composite
def presets(draw):
    preset = draw(st.sampled_from([*get_args(Preset), "emcc", "emcc"]))
    known = PRESET_DEFAULTS[preset]
    ranges = {name: draw(RANGE) for name in known if name.startswith("k")}
    ranges |= {name: draw(st.sampled_from(options)) for name, options in OPTIONS.items() if name in known}
    if preset == "emcc":
        ranges["k3"] = max(ranges["k3"], ranges["k2"])
    return preset, ranges


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(bank=banks(), choice=presets(), eps=st.floats(0.2, 0.9))
def test_engine_equals_literal_version(bank, choice, eps):
    preset, ranges = choice
    points = find_points(bank)
    version = getattr(Literal(bank.features, bank.modality, bank.camera, points.point), preset)
    literal = jaccard(version(**{name: value for name, value in ranges.items() if value is not None}))
    near_one = ClusteringParameters(preset=preset, eps=NEARLY_ONE, min_samples=3, **ranges)
    found = dense(cluster(bank, near_one).graph)
    np.testing.assert_allclose(found, literal, atol=2e-6)
    assume(np.abs(literal - eps).min() > 1e-5)
    of_points = literal[points.first][:, points.first]
    expected = dbscan(of_points, eps, 3, points.copies, points.first)[points.point]
    result = cluster(bank, ClusteringParameters(preset=preset, eps=eps, min_samples=3, **ranges))
    np.testing.assert_array_equal(result.labels, expected)
    assert result.num_clusters == expected.max() + 1
    entries = result.graph.tocoo()
    np.testing.assert_array_equal(dense(result.graph) != 1, literal <= eps)
    assert entries.data.max() <= eps


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(bank=banks(), choice=presets(), eps=st.floats(0.2, 0.9), seed=st.integers(0, 10**6))
def test_order_of_the_images_changes_no_bit(bank, choice, eps, seed):
    preset, ranges = choice
    parameters = ClusteringParameters(preset=preset, eps=eps, min_samples=3, **ranges)
    order = np.random.default_rng(seed).permutation(len(bank))
    moved_bank = FeatureBank(np.ascontiguousarray(bank.features[order]), bank.modality[order], bank.camera[order])
    plain, moved = cluster(bank, parameters), cluster(moved_bank, parameters)
    np.testing.assert_array_equal(dense(plain.graph)[order][:, order], dense(moved.graph))
    pairs = np.unique(np.stack([plain.labels[order], moved.labels], axis=1), axis=0)
    assert len(pairs) == len(np.unique(plain.labels)) == len(np.unique(moved.labels))
    np.testing.assert_array_equal(plain.labels[order] < 0, moved.labels < 0)
