"""`ecul search` and `ecul group` on images as people have them: odd kinds, no identities, no dataset."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecul.cli import main
from ecul.commands.group import by_size, camera_numbers
from ecul.data.synthetic import synthesize
from ecul.engine.collection import find_images, open_embedder
from ecul.errors import CheckpointError, DataError
from ecul.models.weights import SHIPPED
from ecul.runtime import pick_device
from ecul.types import Modality

WEIGHTS = str(SHIPPED["synthetic"])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of three people under two visible and one infrared camera, under names that say nothing."""
    data = tmp_path_factory.mktemp("data") / "sysu"
    sizes = {"num_identities": 2, "num_test_identities": 3, "images_per_camera": 3}
    synthesize(data, layout="sysu", height=64, width=32, seed=5, **sizes)
    folder = tmp_path_factory.mktemp("my crops ä")
    test_people = sorted(int(name) for name in (data / "exp" / "test_id.txt").read_text().strip(",\n ").split(","))
    for camera in ("cam1", "cam2", "cam3"):
        for number, person in enumerate(test_people):
            for count, path in enumerate(sorted((data / camera / f"{person:04d}").glob("*.jpg"))):
                target = folder / camera / f"p{number}-{count}.jpg"
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, target)
    return folder


@pytest.fixture
def odd(people: Path, tmp_path: Path) -> Path:
    """The same with a turned photograph, deep grey, alpha, palette, CMYK, and files that are no images."""
    folder = Path(shutil.copytree(people, tmp_path / "odd"))
    source = Image.open(folder / "cam1" / "p0-0.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    source.transpose(Image.Transpose.ROTATE_90).save(folder / "phone.jpg", exif=exif, quality=95)
    Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 20 + 3000).save(folder / "thermal.png")
    source.convert("RGBA").save(folder / "alpha.png")
    source.quantize(64).save(folder / "palette.gif")
    source.convert("CMYK").save(folder / "print.tif")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("text")
    (folder / ".hidden.jpg").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._p0-0.jpg").write_bytes(b"x")
    (folder / "again").symlink_to(folder)
    return folder


def test_rank_lists_of_odd_images(
    odd: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    caplog.set_level("INFO")
    query = str(odd / "cam1" / "p0-0.jpg")
    out = tmp_path / "new" / "lists.json"
    page = tmp_path / "lists.html"
    options = ["--weights", WEIGHTS, "--top", "8", "--json", str(out), "--html", str(page), "--device", "cpu"]
    assert main(["search", query, "--gallery", str(odd), *options]) == 0
    printed = capsys.readouterr().out
    assert "queries: 1 visible, 0 infrared" in caplog.messages
    assert any(line.startswith("gallery: ") and line.endswith(" infrared") for line in caplog.messages)
    found = json.loads(out.read_text())
    (ranked,) = found["lists"]
    assert ranked["query"] == query
    assert ranked["modality"] == "visible"
    paths = [entry["path"] for entry in ranked["ranked"]]
    similarity = [entry["similarity"] for entry in ranked["ranked"]]
    assert len(paths) == 8
    assert query not in paths
    assert {Path(path).name for path in paths[:3]} == {"phone.jpg", "alpha.png", "print.tif"}
    assert similarity == sorted(similarity, reverse=True)
    assert min(similarity[:3]) > 0.95
    assert len(found["unreadable"]) == 1
    assert "broken.jpg" in found["unreadable"][0]
    assert all(path in printed for path in paths)
    html = page.read_text()
    assert html.count("<img ") == 9
    assert "https:" not in html
    assert all(f": {path}" in html for path in paths)


def test_the_modality_is_guessed_from_colour_or_given(odd: Path):
    embedder = open_embedder(WEIGHTS, pick_device("cpu"))
    paths = [str(odd / name) for name in ("phone.jpg", "thermal.png", "cam3/p0-0.jpg", "broken.jpg", "palette.gif")]
    guessed = embedder.embed(paths, None)
    assert guessed.modality.tolist() == [0, 1, 1, 0]
    assert guessed.paths == (*paths[:3], paths[4])
    given = embedder.embed(paths, Modality.INFRARED)
    assert given.modality.tolist() == [1] * 4
    np.testing.assert_allclose(given.features[1:3], guessed.features[1:3], atol=1e-5)
    assert np.abs(given.features[0] - guessed.features[0]).max() < 0.5
    np.testing.assert_allclose(np.linalg.norm(guessed.features, axis=1), 1, rtol=1e-5)


def test_groups_are_written_with_links(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, links = tmp_path / "groups.csv", tmp_path / "links"
    options = ["--weights", WEIGHTS, "--set", "k1=4", "k2=2", "k3=4", "eps=0.6", "min_samples=2", "--device", "cpu"]
    assert main(["group", str(odd), *options, "--out", str(out), "--links", str(links), "--cameras", "folders"]) == 0
    printed = capsys.readouterr().out
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(find_images([odd])) - 1
    assert f"{len(rows)} images: " in printed
    groups = [int(row["group"]) for row in rows]
    sizes = [groups.count(number) for number in range(1, max(groups) + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 2
    copies = {int(row["group"]) for row in rows if Path(row["path"]).name in ("phone.jpg", "alpha.png", "print.tif")}
    assert len(copies) == 1
    assert 0 not in copies
    linked = [path for path in links.rglob("*") if path.is_symlink()]
    assert len(linked) == len(rows)
    assert {str(path.resolve()) for path in linked} == {str(Path(row["path"]).resolve()) for row in rows}
    assert main(["group", str(odd), *options, "--out", str(out), "--links", str(links)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["group", str(odd), *options, "--out", str(tmp_path / "groups.json")]) == 0
    tree = json.loads((tmp_path / "groups.json").read_text())
    assert len(tree["images"]) == len(rows)
    assert {image["camera"] for image in tree["images"]} == {1}
    assert len(tree["unreadable"]) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_of_one_or_two_images_has_no_groups_or_one(count: int, people: Path, tmp_path: Path):
    for number in range(count):
        shutil.copyfile(people / "cam1" / f"p{number}-0.jpg", tmp_path / f"{number}.jpg")
    out = tmp_path / "groups.json"
    assert main(["group", str(tmp_path), "--weights", WEIGHTS, "--out", str(out), "--device", "cpu"]) == 0
    assert len(json.loads(out.read_text())["images"]) == count


def test_groups_are_numbered_by_size_and_cameras_by_folder():
    assert by_size(np.array([0, 1, 1, -1, 2, 2, 2])).tolist() == [3, 2, 2, 0, 1, 1, 1]
    assert by_size(np.array([-1, -1])).tolist() == [0, 0]
    paths = ("d/b/x.jpg", "d/a/y.jpg", "d/z.jpg", "d/a/c/w.jpg")
    assert camera_numbers(paths, Path("d"), "folders").tolist() == [3, 2, 1, 2]
    assert camera_numbers(paths, Path("d"), "one").tolist() == [1] * 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["search", "nowhere.jpg", "--gallery", "."], "no image or folder nowhere.jpg"),
        (["search", "text.jpg", "--gallery", "."], "text.jpg cannot be read"),
        (["search", "text.jpg", "--gallery", "gone"], "--gallery: no image or folder gone"),
        (["search", "text.jpg", "--gallery", "empty"], "--gallery: empty holds no image"),
        (["search", "text.jpg", "--gallery", ".", "--top", "0"], "--top is 0"),
        (["group", "empty", "--out", "x.csv"], "empty holds no image"),
        (["group", ".", "--out", "x.csv"], "no image in . can be read"),
        (["group", ".", "--out", "x.txt"], ".csv or .json"),
        (["group", ".", "--out", "x.csv", "--links", "text.jpg"], "text.jpg is a file, expected a folder"),
    ],
)
def test_what_cannot_be_searched_or_grouped_is_one_line(
    arguments: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("text")
    assert main([*arguments, "--weights", WEIGHTS, "--device", "cpu"]) == 2
    printed = capsys.readouterr().err.strip()
    assert text in printed
    assert "\n" not in printed


@pytest.mark.parametrize("command", ["search", "group", "embed"])
def test_the_advice_on_a_bad_image_fits_ones_own_too(
    command: str, people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    bad = tmp_path / "bad.jpg"
    bad.write_text("text")
    shutil.copyfile(people / "cam1" / "p0-0.jpg", tmp_path / "good.jpg")
    arguments = {
        "search": [str(tmp_path / "good.jpg"), "--gallery", str(tmp_path)],
        "group": [str(tmp_path), "--out", str(tmp_path / "groups.csv")],
        "embed": [str(bad), "--out", str(tmp_path / "e.npz")],
    }[command]
    assert main([command, *arguments, "--weights", WEIGHTS, "--device", "cpu"]) == (2 if command == "embed" else 0)
    printed = caplog.text + capsys.readouterr().err
    assert "bad.jpg cannot be read" in printed
    assert "replace it or leave it out" in printed


def test_missing_weights_and_images_are_named(tmp_path: Path):
    with pytest.raises(
        CheckpointError, match=r"no weights file or run directory .*; give a run directory, a checkpoint"
    ):
        open_embedder(tmp_path / "gone.safetensors", pick_device("cpu"))
    with pytest.raises(
        CheckpointError, match=r"ONNX files are for other programs; give a run directory, .*safetensors"
    ):
        open_embedder(tmp_path / "mine.onnx", pick_device("cpu"))
    with pytest.raises(CheckpointError, match="neither a checkpoint nor a run directory"):
        open_embedder(tmp_path, pick_device("cpu"))
    with pytest.raises(DataError, match="no image or folder"):
        find_images([tmp_path / "gone"])
