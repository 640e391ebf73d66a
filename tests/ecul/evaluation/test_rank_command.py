import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from ecul import cli
from ecul.commands import rank
from ecul.errors import DataError

GOLDEN = Path(__file__).parents[2] / "golden" / "evaluation.npz"


def run_rank(*argv):
    parser = argparse.ArgumentParser()
    rank.add_parser(parser.add_subparsers())
    args = parser.parse_args(["rank", *map(str, argv)])
    return args.run(args)


def good_arrays():
    rng = np.random.default_rng(0)
    return {
        "distance": rng.random((4, 6)),
        "query_id": np.array([0, 1, 2, 0]),
        "gallery_id": np.arange(6) % 3,
        "query_camera": np.array([3, 6, 3, 6]),
        "gallery_camera": np.array([1, 2, 4, 5, 1, 2]),
    }


@pytest.mark.parametrize("protocol", ["sysu", "regdb", "llcm"])
def test_public_figures_are_printed_as_one_json_object(protocol, capsys):
    assert run_rank(GOLDEN, "--protocol", protocol) == 0
    printed = json.loads(capsys.readouterr().out)
    golden = np.load(GOLDEN)
    assert set(printed) == {"cmc", "map", "minp", "queries", "without_match", "decided_by_ties"}
    assert printed["queries"] == 120
    assert printed["without_match"] > 0
    np.testing.assert_allclose(printed["cmc"], golden[f"{protocol}_cmc"], atol=1e-6)
    assert printed["map"] == pytest.approx(float(golden[f"{protocol}_map"]), abs=1e-6)
    assert printed["minp"] == pytest.approx(float(golden[f"{protocol}_minp"]), abs=1e-6)


def test_regdb_needs_no_cameras_and_integers_are_distances(tmp_path, capsys):
    arrays = {name: array for name, array in good_arrays().items() if "camera" not in name}
    arrays["distance"] = (arrays["distance"] * 1000).astype(np.int64)
    np.savez(tmp_path / "r.npz", **arrays)
    assert run_rank(tmp_path / "r.npz", "--protocol", "regdb") == 0
    assert 0 < json.loads(capsys.readouterr().out)["map"] <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_id": None, "gallery_camera": None}, "lacks query_id, gallery_camera; it holds distance, gallery_id"),
        ({"distance": np.zeros(4)}, r"distance is float64 \(4,\), expected numbers \(Q, G\)"),
        ({"distance": np.full((4, 6), np.nan)}, "24 of 24 distances are NaN"),
        ({"distance": np.zeros((4, 0))}, "at least one query and one gallery image"),
        ({"distance": np.full((4, 6), "near")}, "expected numbers"),
        ({"query_camera": np.zeros(5, np.int64)}, r"query_camera is int64 \(5,\), expected integers \(4,\)"),
        ({"gallery_id": np.zeros(6)}, r"gallery_id is float64 \(6,\), expected integers"),
        ({"query_id": np.full(4, 99)}, "none of the 4 queries has a match"),
    ],
)
def test_bad_arrays_are_one_clear_line(change, message, tmp_path):
    arrays = {name: array for name, array in {**good_arrays(), **change}.items() if array is not None}
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        run_rank(tmp_path / "r.npz", "--protocol", "sysu")
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_one_clear_line(tmp_path):
    np.savez(tmp_path / "whole.npz", **good_arrays())
    whole = (tmp_path / "whole.npz").read_bytes()
    contents = {"empty": b"", "text": b"hello, world", "cut": whole[: len(whole) // 2]}
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    np.save(tmp_path / "bare.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", distance=np.array([{}], dtype=object))
    for path in ("absent.npz", "empty.npz", "text.npz", "cut.npz", "bare.npy", "objects.npz", "."):
        with pytest.raises(DataError) as caught:
            run_rank(tmp_path / path, "--protocol", "sysu")
        assert "\n" not in str(caught.value)
        assert str(tmp_path / path) in str(caught.value)


def test_the_command_ends_with_code_two_and_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "COMMANDS", ("rank",))
    assert cli.main(["rank", str(tmp_path / "absent.npz"), "--protocol", "sysu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ecul rank: cannot read")
    assert captured.err.count("\n") == 1
    np.savez(tmp_path / "r.npz", **good_arrays())
    assert cli.main(["rank", str(tmp_path / "r.npz"), "--protocol", "llcm"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
