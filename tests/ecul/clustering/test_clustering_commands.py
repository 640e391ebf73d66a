"""`ecul cluster` and `ecul bench cluster`: what they write, what they refuse; the dense version agrees."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from torch.utils.flop_counter import FlopCounterMode

from ecul.bench import clustering as growth
from ecul.bench.dense import dense_clustering
from ecul.clustering.pipeline import cluster
from ecul.clustering.search import torch_topk
from ecul.commands import bench_cluster
from ecul.commands import cluster as cluster_command
from ecul.errors import ConfigError, DataError, EculError
from ecul.settings import clustering_parameters


def run(*arguments):
    parser = argparse.ArgumentParser()
    parts = parser.add_subparsers(required=True)
    cluster_command.add_parser(parts)
    bench_cluster.add_parser(parts.add_parser("bench").add_subparsers())
    args = parser.parse_args([str(argument) for argument in arguments])
    return args.run(args)


@pytest.fixture
def arrays():
    bank, identity = growth.simulated(400, 32, "6", 0)
    return {"features": bank.features, "modality": bank.modality, "camera": bank.camera, "identity": identity}


@pytest.fixture
def save(tmp_path):
    def write(arrays):
        np.savez(tmp_path / "features.npz", **arrays)
        return tmp_path / "features.npz"

    return write


def test_labels_and_graph_are_those_of_the_engine(arrays, save, tmp_path, capsys):
    labels, graph = tmp_path / "labels", tmp_path / "graph.npz"
    path = save({**arrays, "features": arrays["features"] * 3.0})  # any length: rows are normalised
    chosen = ("--preset", "emcc", "--set", "k1=8", "eps=0.5", "--set", "k3=9")
    assert run("cluster", path, *chosen, "--out", labels, "--graph-out", graph) == 0
    bank, _ = growth.simulated(400, 32, "6", 0)
    expected = cluster(bank, clustering_parameters("emcc", {"k1": 8, "eps": 0.5, "k3": 9}))
    np.testing.assert_array_equal(np.load(labels)["labels"], expected.labels)
    stored = sp.load_npz(graph)
    assert stored.nnz == expected.graph.nnz
    assert (stored.diagonal() == 0).all()
    assert stored.data.max() <= 0.5
    assert "quality/cross_precision" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"features.npz", "labels", "graph.npz"}


def test_the_eps_curve_has_a_line_an_eps_and_leaves_the_labels_alone(arrays, save, tmp_path, capsys):
    path, labels = save(arrays), tmp_path / "labels"
    assert run("cluster", path, "--out", labels) == 0
    before = np.load(labels)["labels"]
    assert run("cluster", path, "--out", labels, "--eps-curve", "0.3", "0.5") == 0
    np.testing.assert_array_equal(np.load(labels)["labels"], before)
    *_, head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["eps", "clusters", "cross_modality_share"]
    assert [float(line.split()[0]) for line in (first, second)] == [0.3, 0.5]
    with pytest.raises(ConfigError, match=r"--eps-curve holds 1\.2"):
        run("cluster", path, "--out", labels, "--eps-curve", "1.2")


def test_quality_is_left_out_without_identities(arrays, save, tmp_path, capsys):
    del arrays["identity"]
    run("cluster", save(arrays), "--preset", "kreciprocal", "--out", tmp_path / "labels.npz", "--threads", 1)
    printed = capsys.readouterr().out
    assert "quality" not in printed
    assert "noise_share" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": None}, "lacks features"),
        ({"camera": None}, "lacks camera"),
        ({"modality": np.full(400, 7)}, "modality holds 7"),
        ({"modality": np.zeros(399)}, r"\(399,\)"),
        ({"camera": np.full(400, 0.5)}, "whole numbers"),
        ({"features": np.zeros((400, 4))}, "all zero"),
        ({"features": np.full((400, 4), np.inf)}, "not finite"),
        ({"features": np.ones(400)}, r"\(N, D\)"),
        ({"features": np.array(["a"] * 400)}, "expected numbers"),
    ],
)
def test_bad_arrays_are_named(arrays, save, tmp_path, change, message):
    changed = {name: value for name, value in {**arrays, **change}.items() if value is not None}
    with pytest.raises(DataError, match=message):
        run("cluster", save(changed), "--out", tmp_path / "labels.npz")
    assert not (tmp_path / "labels.npz").exists()


@pytest.mark.parametrize("name", ["missing.npz", "text.npz", "folder"])
def test_unreadable_files_are_named(tmp_path, name):
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=name):
        run("cluster", tmp_path / name, "--out", tmp_path / "labels.npz")


@pytest.mark.parametrize("options", [["--set", "k3=1"], ["--set", "eps=2"], ["--set", "k9=1"], ["--threads", "0"]])
def test_bad_numbers_are_refused(arrays, save, tmp_path, options):
    with pytest.raises(ConfigError):
        run("cluster", save(arrays), "--out", tmp_path / "labels.npz", *options)


def test_unwritable_output_is_named(arrays, save, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EculError, match="is a file, expected a folder"):
        run("cluster", save(arrays), "--out", tmp_path / "file" / "labels.npz")


@pytest.mark.parametrize("preset", ["emcc", "kreciprocal"])
def test_dense_version_gives_the_same_labels(preset):
    bank, _ = growth.simulated(500, 64, "sysu", 0)
    parameters = clustering_parameters(preset, {})
    labels, seconds = dense_clustering(bank, parameters)
    np.testing.assert_array_equal(labels, cluster(bank, parameters).labels)
    stages = (*growth.STAGES[1:], "filter")  # it does not look for copies
    assert set(seconds) == {stage + kind for stage in stages for kind in ("_seconds", "_cpu_seconds")}


def test_the_floor_of_a_search_is_multiplied_where_its_backend_multiplies(monkeypatch):
    features = growth.simulated(400, 32, "6", 0)[0].features
    calls = []
    monkeypatch.setattr(torch_topk, "bare_products", lambda features: calls.append("torch"))
    monkeypatch.setattr(growth, "propose_blocks", lambda *arguments, **options: calls.append("tiles"))
    for backend in ("torch", "tiles", "faiss"):
        growth.floor_seconds(features, backend=backend)
    assert calls == ["torch", "tiles", "tiles"]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_the_bare_products_of_torch_are_of_all_pairs(monkeypatch, precision):
    monkeypatch.setattr(torch_topk, "BLOCK_ROWS", 64)
    features = growth.simulated(400, 32, "6", 0)[0].features
    with FlopCounterMode(display=False) as counter:
        torch_topk.bare_products(features, "cpu", precision)
    assert counter.get_total_flops() == 2 * 400 * 400 * 32


def test_bench_prints_and_writes(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert run("bench", "cluster", "--sizes", 300, 600, "--dim", 16, "--reference", "--repeats", 2, "--json", file) == 0
    report = json.loads(file.read_text())
    assert [entry["images"] for entry in report["runs"]] == [300, 600]
    assert set(report["ratios"][0]) == {"after_search", "total", "memory", "after_search_cpu", "total_cpu"}
    assert set(growth.STAGES) < set(report["exponents"])
    assert file.with_suffix(".png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "exponent" in printed
    assert printed.count("dense") == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--sizes", 1],
        ["--sizes", 300, "--groups", "many"],
        ["--sizes", 300, "--preset", "camera_aware", "--reference"],
        ["--sizes", 300, "--json", Path(__file__) / "all.json"],
        ["--sizes", 300, "--repeats", 0],
    ],
)
def test_bench_refuses_bad_options(options):
    with pytest.raises(EculError):
        run("bench", "cluster", *options)
