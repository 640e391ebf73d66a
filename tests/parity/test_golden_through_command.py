"""`ecul cluster` on the reference input gives the reference distances and labels, for all presets."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from ecul.cli import main

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "jaccard.npz"
EPS = 0.6


def settings(key: str) -> tuple[str, list[str]]:
    """Preset and `--set` texts of an array's name, such as `emcc_modality_k1_20_k2_6_k3_30`."""
    if key.startswith("camera_aware"):
        k1_intra, k1_inter, k2_intra, k2_inter = re.findall(
            r"\d+", key.removeprefix("camera_aware_k1_").replace("k2", "")
        )
        values = {"k1_intra": k1_intra, "k1_inter": k1_inter, "k2_intra": k2_intra, "k2_inter": k2_inter}
        return "camera_aware", [f"{name}={value}" for name, value in values.items()]
    preset = re.sub(r"(_modality)?_k1_.*", "", key)
    ranges = [f"{name}={value}" for name, value in re.findall(r"(k[123])_(\d+)", key)]
    return preset, ranges + (["groups=modality"] if key.startswith("emcc_modality") else [])


def test_all_reference_arrays_come_out_of_the_command(tmp_path: Path):
    if not GOLDEN.is_file():
        pytest.skip(f"no reference arrays at {GOLDEN}")
    with np.load(GOLDEN) as golden:
        arrays = {name: golden[name] for name in golden.files}
    features, labels, graph = tmp_path / "features.npz", tmp_path / "labels.npz", tmp_path / "graph.npz"
    np.savez(features, **{name: arrays.pop(name) for name in ("features", "identity", "camera", "modality")})
    assert len(arrays) == 13
    for key, expected in arrays.items():
        preset, values = settings(key)
        options = [option for value in (*values, f"eps={EPS}") for option in ("--set", value)]
        command = [
            "cluster",
            str(features),
            "--preset",
            preset,
            *options,
            "--out",
            str(labels),
            "--graph-out",
            str(graph),
        ]
        assert main(command) == 0
        got = sp.load_npz(graph).tocoo()
        np.testing.assert_allclose(got.data, expected[got.row, got.col], atol=2e-6, err_msg=key)
        stored = np.zeros(expected.shape, bool)
        stored[got.row, got.col] = True
        assert not ((expected < EPS - 2e-6) & ~stored).any(), key
        reference = DBSCAN(eps=EPS, min_samples=4, metric="precomputed").fit_predict(np.clip(expected, 0, None))
        found = np.load(labels)["labels"]
        assert adjusted_rand_score(reference, found) == 1.0, key
        assert ((reference < 0) == (found < 0)).all(), key
