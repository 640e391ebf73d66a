"""Datasets as people have them: unpacked too deep, linked, incomplete, with files of the system among the images."""

import shutil
from pathlib import Path

import pytest

from ecul.data.dataset import digest, open_dataset
from ecul.errors import DataError


@pytest.mark.parametrize("layout", ["auto", "sysu"])
def test_the_inner_folder_of_a_set_unpacked_too_deep_is_named(sysu, tmp_path_factory, layout):
    outer = tmp_path_factory.mktemp("outer")
    shutil.copytree(sysu, outer / "SYSU-MM01" / "SYSU-MM01")
    shutil.copytree(sysu, outer / "SYSU-MM01" / "__MACOSX")
    with pytest.raises(DataError, match=r"outer\d*/SYSU-MM01/SYSU-MM01 .*; give that folder"):
        open_dataset(outer / "SYSU-MM01", layout=layout)
    with pytest.raises(DataError, match=f"but {sysu.resolve()} "):
        open_dataset(sysu / "cam1", layout=layout)


def test_dangling_links_are_named_before_anything_is_decoded(sysu):
    link = sysu / "cam1" / "0002" / "link.jpg"
    link.symlink_to(sysu / "nothing.jpg")
    with pytest.raises(DataError, match=r"of which 1 do not exist \(first: .*cam1/0002/link.jpg\)"):
        open_dataset(sysu, layout="sysu")


def test_an_image_deleted_while_reading_is_one_error(sysu):
    dataset = open_dataset(sysu, layout="sysu")
    (sysu / "cam1" / "0002" / "1.bmp").unlink()
    with pytest.raises(DataError, match=r"1.bmp is missing"):
        digest(dataset)


def test_files_that_systems_leave_are_passed_over(sysu):
    expected = open_dataset(sysu, layout="sysu").train.samples.paths
    for name in ("._0002.JPG", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (sysu / "cam1" / "0002" / name).write_bytes(b"x")
    (sysu / "cam1" / "@eaDir").mkdir()
    assert open_dataset(sysu, layout="sysu").train.samples.paths == expected


def test_sets_are_read_through_links_and_from_folders_with_blanks_and_letters(sysu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ein Ördner 文件")
    (folder / "link").symlink_to(sysu)
    for root in (folder / "link", Path(shutil.copytree(sysu, folder / "Kopie ä b"))):
        assert len(open_dataset(root, layout="auto").train) == len(open_dataset(sysu, layout="auto").train)


def test_identities_may_repeat_and_leave_gaps(sysu):
    (sysu / "exp" / "train_id.txt").write_text("\ufeff11, 2,\r\n2 11\n", encoding="utf-8")
    assert set(open_dataset(sysu, layout="sysu").train.identity.tolist()) == {2, 3, 11}


def test_data_that_may_only_be_read_are_read(sysu):
    expected = open_dataset(sysu, layout="sysu").train.samples.paths
    folders = [path for path in [sysu, *sysu.rglob("*")] if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        before = {path: path.stat().st_mtime_ns for path in folders}
        assert open_dataset(sysu, layout="auto").train.samples.paths == expected
        assert {path: path.stat().st_mtime_ns for path in folders} == before
    finally:
        for path in folders:
            path.chmod(0o755)
