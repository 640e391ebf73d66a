"""Readers of the three layouts, on small synthetic sets and on hand-made folders."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecul.data.dataset import detect_layout, digest, open_dataset
from ecul.data.synthetic import synthesize
from ecul.errors import DataError
from ecul.types import Modality


@pytest.fixture(scope="module", params=["sysu", "regdb", "llcm"])
def made(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / request.param
    synthesize(root, layout=request.param, num_identities=5, num_test_identities=3, height=24, width=16, seed=4)
    return request.param, root


def keys(index):
    paths = [os.path.basename(path) for path in index.samples.paths]
    columns = (index.samples.modality.tolist(), index.samples.camera.tolist(), index.identity.tolist(), paths)
    return list(zip(*columns, strict=True))


def test_every_layout_is_recognised_and_opened(made):
    layout, root = made
    assert detect_layout(root) == layout
    dataset = open_dataset(root, layout="auto")
    assert dataset.name == f"synthetic-{layout}"
    for index in (dataset.train, dataset.test):
        assert set(index.samples.modality.tolist()) == {Modality.VISIBLE, Modality.INFRARED}
        assert all(os.path.isfile(path) for path in index.samples.paths)
        assert index.identity.dtype == index.samples.camera.dtype == index.samples.modality.dtype == np.int32
    assert not set(dataset.train.samples.paths) & set(dataset.test.samples.paths)
    assert len(np.unique(dataset.train.identity)) == 5
    assert len(np.unique(dataset.test.identity)) == 3


def test_indexes_are_sorted(made):
    layout, root = made
    dataset = open_dataset(root, layout=layout)
    for index in (dataset.train, dataset.test):
        assert keys(index) == sorted(keys(index))


def test_held_out_identities_leave_training_and_the_digest_stays(made):
    layout, root = made
    full, held_out = (open_dataset(root, layout=layout, hold_out_validation=flag) for flag in (False, True))
    assert full.validation is None
    assert held_out.validation is not None
    train, validation = set(held_out.train.identity.tolist()), set(held_out.validation.identity.tolist())
    assert train
    assert validation
    assert not train & validation
    assert sorted(held_out.train.samples.paths + held_out.validation.samples.paths) == sorted(full.train.samples.paths)
    assert digest(full) == digest(held_out)


def test_sysu_cameras_split_by_modality(sysu):
    dataset = open_dataset(sysu, layout="sysu", hold_out_validation=True)
    for index in (dataset.train, dataset.test):
        infrared = index.samples.modality == Modality.INFRARED
        assert set(index.samples.camera[infrared].tolist()) == {3, 6}
        assert set(index.samples.camera[~infrared].tolist()) == {1, 2, 4, 5}
    assert set(dataset.train.identity.tolist()) == {2, 11}
    assert dataset.validation is not None
    assert set(dataset.validation.identity.tolist()) == {3}
    assert set(dataset.test.identity.tolist()) == {7}
    assert set(open_dataset(sysu, layout="sysu").train.identity.tolist()) == {2, 3, 11}


def test_names_and_extensions_do_not_matter_and_images_follow_their_sorted_names(sysu):
    dataset = open_dataset(sysu, layout="sysu")
    names = [os.path.basename(path) for path in dataset.test.samples.paths if "cam4" in path]
    assert names == sorted(["0002.JPG", "0010.jpeg", "1.bmp", "a-much-longer-name.png"])


def test_listing_order_does_not_matter(sysu, monkeypatch):
    expected = open_dataset(sysu, layout="sysu")
    scandir = os.scandir

    class Reversed:
        def __init__(self, path):
            self.entries = scandir(path)

        def __enter__(self):
            return reversed(list(self.entries.__enter__()))

        def __exit__(self, *error):
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Reversed)
    assert open_dataset(sysu, layout="sysu").train.samples.paths == expected.train.samples.paths


def test_a_missing_camera_folder_is_named(sysu):
    shutil.rmtree(sysu / "cam3")
    with pytest.raises(DataError, match=r"cam3 does not exist"):
        open_dataset(sysu, layout="sysu")


@pytest.mark.parametrize(
    ("text", "message"), [("2,x", "expected integers"), ("", "names no identity"), ("7", "share 1 identities")]
)
def test_a_damaged_sysu_split_file_is_named(sysu, text, message):
    (sysu / "exp" / "train_id.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(sysu, layout="sysu")


def test_an_empty_modality_is_named(sysu):
    for camera in (3, 6):
        for path in (sysu / f"cam{camera}").rglob("*.*"):
            path.unlink()
    with pytest.raises(DataError, match="training split has no infrared images"):
        open_dataset(sysu, layout="sysu")


@pytest.fixture
def regdb(tmp_path):
    (tmp_path / "idx").mkdir()
    for folder in ("Visible", "Thermal"):
        for person in range(4):
            (tmp_path / folder / str(person)).mkdir(parents=True)
            for number in (1, 2):
                (tmp_path / folder / str(person) / f"man back_{number}.BMP").write_bytes(b"")
    for trial in range(1, 11):
        for split, people in (("train", (0, 1)), ("test", (2, 3))):
            for folder, name in (("Visible", "visible"), ("Thermal", "thermal")):
                lines = [
                    f"{folder}/{person}/man back_{number}.BMP {label}"
                    for label, person in enumerate(people if trial < 10 else people[::-1])
                    for number in (2, 1)
                ]
                (tmp_path / "idx" / f"{split}_{name}_{trial}.txt").write_text("\r\n".join(lines) + "\r\n\r\n")
    return tmp_path


def test_regdb_trials_have_their_own_labels_and_one_camera(regdb):
    first, last = (open_dataset(regdb, layout="regdb", trial=trial) for trial in (1, 10))
    assert first.train.samples.camera.tolist() == [1] * 8
    assert sorted(first.train.samples.paths) == sorted(last.train.samples.paths)
    assert [Path(path).parts[-2] for path in first.train.samples.paths] == ["0", "0", "1", "1"] * 2
    assert [Path(path).parts[-2] for path in last.train.samples.paths] == ["1", "1", "0", "0"] * 2


@pytest.mark.parametrize("trial", [0, 11])
def test_regdb_has_ten_trials(regdb, trial):
    with pytest.raises(DataError, match=f"trials 1 to 10, got {trial}"):
        open_dataset(regdb, layout="regdb", trial=trial)


def test_listed_images_that_do_not_exist_are_named(regdb):
    shutil.rmtree(regdb / "Thermal" / "1")
    with pytest.raises(DataError, match=r"lists 16 images, of which 2 do not exist .*Thermal/1/man back_2.BMP"):
        open_dataset(regdb, layout="regdb")


def test_any_blank_parts_path_and_label(regdb):
    listing = regdb / "idx" / "train_visible_1.txt"
    expected = open_dataset(regdb, layout="regdb").train
    for blank in ("\t", "  ", " \t "):
        lines = [line.rsplit(" ", 1) for line in listing.read_text().split("\n") if line.strip()]
        listing.write_text("\ufeff" + "\n".join(blank.join(parts) for parts in lines), encoding="utf-8")
        found = open_dataset(regdb, layout="regdb").train
        assert found.samples.paths == expected.samples.paths
        assert found.identity.tolist() == expected.identity.tolist()
        listing.write_text("\n".join(" ".join(parts) for parts in lines))


def test_a_line_without_a_label_is_named(regdb):
    (regdb / "idx" / "train_visible_1.txt").write_text("Visible/0/x.BMP\n")
    with pytest.raises(DataError, match=r"train_visible_1.txt line 1: expected"):
        open_dataset(regdb, layout="regdb")


@pytest.mark.parametrize(
    ("name", "camera"),
    [("0001_c04_s12_f7_vis.jpg", 4), ("12_c9_x.PNG", 9), ("c3-1.jpg", 3), ("7_cam2_1.bmp", 2)],
)
def test_llcm_training_cameras_come_from_the_names(tmp_path, name, camera):
    made_llcm(tmp_path, name)
    index = open_dataset(tmp_path, layout="llcm").train
    assert index.samples.camera.tolist() == [camera, camera]


@pytest.mark.parametrize("name", ["0001_s12.jpg", "0001_c10_f1.jpg", "0001_c0_f1.jpg", "abc4_.jpg"])
def test_llcm_names_without_a_camera_are_named(tmp_path, name):
    made_llcm(tmp_path, name)
    with pytest.raises(DataError, match=f"{name}: no camera number"):
        open_dataset(tmp_path, layout="llcm")


def made_llcm(root, name):
    (root / "idx").mkdir()
    for folder in ("vis/1", "nir/1", "test_vis/cam5/0009", "test_nir/cam8/0009", "test_nir/cam1/0010"):
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_bytes(b"")
    for suffix in ("vis", "nir"):
        (root / "idx" / f"train_{suffix}.txt").write_text(f"{suffix}/1/{name} 0\n")
    (root / "idx" / "test_id.txt").write_text("9\n")


def test_llcm_test_images_take_camera_and_identity_from_their_folders(tmp_path):
    made_llcm(tmp_path, "0001_c04_x.jpg")
    test = open_dataset(tmp_path, layout="llcm").test
    assert test.samples.camera.tolist() == [5, 8]
    assert test.identity.tolist() == [9, 9]


def test_the_digest_follows_sizes_and_splits_only(sysu, tmp_path_factory):
    before = digest(open_dataset(sysu, layout="sysu"))
    copy = tmp_path_factory.mktemp("copy") / "moved"
    shutil.copytree(sysu, copy)
    assert digest(open_dataset(copy, layout="sysu")) == before
    (copy / "cam1" / "0002" / "1.bmp").write_bytes(b"more")
    assert digest(open_dataset(copy, layout="sysu")) != before


def test_an_unknown_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no known layout.*exp/train_id.txt.*idx/train_visible_1.txt.*idx/test_id.txt"):
        detect_layout(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file; give the folder that holds the dataset's split files"):
        open_dataset(tmp_path / "file", layout="auto")
    with pytest.raises(DataError, match="no dataset folder"):
        detect_layout(tmp_path / "absent")
    with pytest.raises(DataError, match="unknown layout 'market'"):
        open_dataset(tmp_path, layout="market")


def test_images_of_synthetic_sets_open_in_the_promised_form(made):
    layout, root = made
    dataset = open_dataset(root, layout=layout)
    for modality, mode in ((Modality.VISIBLE, "RGB"), (Modality.INFRARED, "L")):
        position = int(np.flatnonzero(dataset.train.samples.modality == modality)[0])
        with Image.open(dataset.train.samples.paths[position]) as image:
            assert (image.size, image.mode) == ((16, 24), mode)
