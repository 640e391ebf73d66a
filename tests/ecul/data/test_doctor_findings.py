"""`ecul doctor` and `ecul synth`, right and wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecul.cli import main
from ecul.data.dataset import SYNTHETIC_MARKER
from ecul.data.doctor import inspect_dataset
from ecul.data.layouts import find_layout
from ecul.data.layouts.counts import compare
from ecul.data.synthetic import synthesize


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("doctor")
    for layout in ("sysu", "regdb", "llcm"):
        options = {"num_identities": 4, "num_test_identities": 2, "images_per_camera": 2}
        synthesize(root / layout, layout=layout, height=16, width=16, seed=0, **options)
    return root


@pytest.fixture
def sysu(made, tmp_path):
    shutil.copytree(made / "sysu", tmp_path / "sysu")
    return tmp_path / "sysu"


@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_a_whole_set_is_fine(made, layout, capsys):
    assert main(["doctor", str(made / layout)]) == 0
    printed = capsys.readouterr().out
    assert f"synthetic-{layout}" in printed
    assert "fine" in printed


def test_a_missing_image_is_counted(sysu, capsys):
    next((sysu / "cam1").rglob("*.jpg")).unlink()
    assert main(["doctor", str(sysu)]) == 2
    printed = capsys.readouterr().out
    assert "visible images, expected" in printed
    assert "draw it again" in printed


def test_an_unreadable_image_is_named(sysu, capsys):
    broken = sorted((sysu / "cam3").rglob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:200])
    assert main(["doctor", str(sysu), "--open", "0"]) == 2
    assert f"cannot be read: {broken}" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["sysu", "regdb"])
def test_dangling_links_are_listed_and_the_rest_is_still_checked(made, tmp_path, layout, capsys):
    root = Path(shutil.copytree(made / layout, tmp_path / layout))
    images = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".bmp"))
    images[0].unlink()
    images[0].symlink_to(tmp_path / "nothing")
    broken = images[-1]
    broken.write_bytes(broken.read_bytes()[:100])
    assert main(["doctor", str(root), "--open", "0"]) == 2
    printed = capsys.readouterr().out
    assert f"images do not exist (or are dangling links): {images[0]}; " in printed
    assert f"cannot be read: {broken}" in printed
    assert printed.count(str(images[0])) == 1


def test_constant_images_are_named(sysu, capsys):
    white = sorted((sysu / "cam3").rglob("*.jpg"))[0]
    Image.new("L", (16, 16), 255).save(white)
    assert main(["doctor", str(sysu), "--open", "0"]) == 2
    assert f"show one value in all pixels: {white}" in capsys.readouterr().out


def test_identities_without_images_are_named(sysu):
    for folder in sysu.glob("cam*/0002"):
        shutil.rmtree(folder)
    found = inspect_dataset(sysu).problems
    assert any("1 identities of exp/train_id.txt have no image under any camera (such as 2)" in text for text in found)


def test_visible_images_without_colour_are_noticed(sysu):
    for camera in (1, 2, 4, 5):
        for path in (sysu / f"cam{camera}").rglob("*.jpg"):
            Image.open(path).convert("L").save(path)
    assert any("visible images have no colour" in text for text in inspect_dataset(sysu).problems)


def test_a_real_set_is_held_against_the_known_counts(sysu, capsys):
    (sysu / SYNTHETIC_MARKER).unlink()
    assert main(["doctor", str(sysu)]) == 2
    printed = capsys.readouterr().out
    assert "train: 4 identities, expected 395 (-391)" in printed
    assert "the single-shot gallery of all search has" in printed


def test_a_damaged_marker_is_one_line(sysu, capsys):
    (sysu / SYNTHETIC_MARKER).write_text(json.dumps({"counts": {}}))
    assert main(["doctor", str(sysu)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "is damaged" in printed.err


def test_the_known_wrong_preparation_is_recognised():
    sysu = find_layout("sysu")
    counts = {split: dict(quantities) for split, quantities in sysu.known_counts.items()}
    assert compare(counts, sysu.known_counts, mistakes=sysu.known_mistakes) == []
    counts["train"] |= {"identities": 367, "infrared": 11_333}
    problems = compare(counts, sysu.known_counts, mistakes=sysu.known_mistakes)
    assert problems[:2] == [
        "train: 367 identities, expected 395 (-28)",
        "train: 11,333 infrared images, expected 11,909 (-576)",
    ]
    assert len(problems) == 3
    assert "this preparation is known" in problems[2]


def test_a_regdb_trial_that_tests_on_training_images_is_named(made, tmp_path):
    root = tmp_path / "regdb"
    shutil.copytree(made / "regdb", root)
    shutil.copyfile(root / "idx" / "train_visible_7.txt", root / "idx" / "test_visible_7.txt")
    (root / "idx" / "test_thermal_9.txt").unlink()
    problems = inspect_dataset(root).problems
    assert any(text.startswith("trial 7: 8 images are in the training and in the test list") for text in problems)
    assert any(text.startswith("trial 9: cannot read the split file") for text in problems)


@pytest.mark.parametrize("arguments", [["doctor", "/no/such/folder"], ["synth", "--out", "x", "--size", "big"]])
def test_bad_input_is_one_line_and_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_synth_writes_what_it_says(tmp_path, capsys):
    options = ["--identities", "2", "--test-identities", "1", "--images-per-camera", "1", "--size", "20x16"]
    assert main(["synth", "--layout", "regdb", "--out", str(tmp_path / "set"), *options]) == 0
    assert "6 images" in capsys.readouterr().out
    with Image.open(next((tmp_path / "set" / "Visible").rglob("*.bmp"))) as image:
        assert np.asarray(image).shape == (20, 16, 3)
