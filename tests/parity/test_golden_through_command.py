"""`ecul cluster` on the reference input gives the reference distances and labels, for all presets."""

import re
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ecul.cli import main

GOLDEN = Path(__file__).parents[1] / "golden" / "jaccard.npz"
LINEAGE = Path(__file__).parents[1] / "golden" / "lineage.npz"
EPS, EPS_ROW = 0.6, 1


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
    with np.load(GOLDEN) as golden:
        arrays = {name: golden[name] for name in golden.files}
    features, labels, graph = tmp_path / "features.npz", tmp_path / "labels.npz", tmp_path / "graph.npz"
    np.savez(features, **{name: arrays.pop(name) for name in ("features", "identity", "camera", "modality")})
    rows = arrays.pop("rows")
    keys = [key for key in arrays if not key.startswith("labels_")]
    assert len(keys) == 13
    for key in keys:
        preset, values = settings(key)
        options = [option for value in (*values, f"eps={EPS}") for option in ("--set", value)]
        outputs = ["--out", str(labels), "--graph-out", str(graph)]
        assert main(["cluster", str(features), "--preset", preset, *options, *outputs]) == 0
        got = sp.load_npz(graph)[rows].tocoo()
        np.testing.assert_allclose(got.data, arrays[key][got.row, got.col], atol=2e-6, err_msg=key)
        stored = np.zeros(arrays[key].shape, bool)
        stored[got.row, got.col] = True
        assert not ((arrays[key] < EPS - 2e-6) & ~stored).any(), key
        np.testing.assert_array_equal(np.load(labels)["labels"], arrays[f"labels_{key}"][EPS_ROW], err_msg=key)


def window_settings(key: str) -> tuple[str, list[str]]:
    """Preset and `--set` texts of an array's name, such as `camera_quota_visible_k1_20_kb_6`."""
    k1, small = re.findall(r"k1_(\d+)_k[b2]_(\d+)", key)[0]
    if key.startswith("camera_window"):
        return "camera_window", [f"k1={k1}", f"k2={small}"]
    window = k1 if "_united_" in key else str(2 * int(small))
    return "camera_quota", [f"k1={k1}", f"k2={small}", f"k3={window}"]


def test_windows_of_one_modality_and_of_both_come_out_of_the_command(tmp_path: Path):
    with np.load(LINEAGE) as golden:
        arrays = {name: golden[name] for name in golden.files}
    files = {"united": np.full(len(arrays["modality"]), True)}
    files |= {"visible": arrays["modality"] == 0, "infrared": arrays["modality"] == 1}
    for part, rows in files.items():
        named = {name: arrays[name][rows] for name in ("features", "identity", "camera", "modality")}
        np.savez(tmp_path / f"{part}.npz", **named)
    labels, graph = tmp_path / "labels.npz", tmp_path / "graph.npz"
    keys = [key for key in arrays if key.startswith("camera_")]
    assert len(keys) == 11
    for key in keys:
        part = key.split("_")[2]
        preset, values = window_settings(key)
        outputs = ["--out", str(labels), "--graph-out", str(graph)]
        options = ["--preset", preset, "--set", *values, f"eps={EPS}"]
        assert main(["cluster", str(tmp_path / f"{part}.npz"), *options, *outputs]) == 0
        expected = arrays[key]
        got = sp.load_npz(graph)[arrays[f"rows_{part}"]].tocoo()
        np.testing.assert_allclose(got.data, expected[got.row, got.col], atol=2e-6, err_msg=key)
        stored = np.zeros(expected.shape, bool)
        stored[got.row, got.col] = True
        assert not ((expected < EPS - 2e-6) & ~stored).any(), key
        assert len(np.load(labels)["labels"]) == files[part].sum()
