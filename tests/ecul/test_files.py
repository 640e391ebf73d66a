import io
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ecul.data.synthetic.plan import plan_from_counts
from ecul.errors import ConfigError, DataError
from ecul.files import locked, output_file, output_folder, read_npz, replacing, write_atomically
from tune.trials.bank import load_bank


def _write_half(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError("half way")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "old")
    with pytest.raises(RuntimeError, match="half way"):
        _write_half(path)
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_a_folder_belongs_to_one_process_until_that_is_gone_however_it_ends(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from ecul.files import locked\n"
        "with locked(Path(sys.argv[1]), what='x'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    refused = rf"^run {re.escape(str(tmp_path))} is in use by process {holder.pid} on \S+; wait for its end"
    with pytest.raises(ConfigError, match=refused), locked(tmp_path, what="run"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with locked(tmp_path, what="run"):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_folder_that_was_made_for_a_lock_and_stayed_empty_is_removed(tmp_path: Path):
    for written in (False, True):
        folder = tmp_path / "new"
        with locked(folder, what="run"):
            if written:
                (folder / "a.txt").touch()
        assert folder.is_dir() is written


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file, expected a folder"), locked(tmp_path / "file", what="run"):
        pass


def test_needed_and_optional_arrays_are_read_and_no_others(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=np.ones(2), b=np.zeros(1), c=np.array([{}], dtype=object))
    assert set(read_npz(tmp_path / "a.npz", ("a",), optional=("b", "d"))) == {"a", "b"}


def _bytes(kind: str) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(1000))
    whole = stream.getvalue()
    if kind == "cut":
        return whole[:200]
    if kind == "damaged":
        return whole[:80] + b"\xff" * 60 + whole[140:]
    if kind == "bare":
        stream = io.BytesIO()
        np.save(stream, np.arange(3))
        return stream.getvalue()
    if kind == "pickle":
        stream = io.BytesIO()
        np.savez(stream, a=np.array([{}], dtype=object))
        return stream.getvalue()
    if kind == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.txt", "text")
        return stream.getvalue()
    return {"empty": b"", "text": b"not an archive"}[kind]


@pytest.mark.parametrize("kind", ["cut", "damaged", "bare", "pickle", "zip", "empty", "text"])
@pytest.mark.parametrize("reader", [lambda path: read_npz(path, ("a",)), plan_from_counts, load_bank])
def test_what_is_no_archive_of_arrays_is_one_clear_line(kind: str, reader, tmp_path: Path):
    path = tmp_path / "x.npz"
    path.write_bytes(_bytes(kind))
    with pytest.raises(DataError, match=r"x\.npz") as error:
        reader(path)
    assert "\n" not in str(error.value)


def test_missing_files_and_folders_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        read_npz(tmp_path / "nothing.npz", ("a",))
    with pytest.raises(DataError, match="directory"):
        read_npz(tmp_path, ("a",))
    np.savez(tmp_path / "a.npz", b=np.ones(1))
    with pytest.raises(DataError, match="lacks a; it holds b"):
        read_npz(tmp_path / "a.npz", ("a",))


def test_counts_must_be_whole_numbers(tmp_path: Path):
    np.savez(tmp_path / "a.npz", counts=np.ones((6, 2)), train_id=np.array([1]), test_id=np.array([2]))
    with pytest.raises(DataError, match="counts is float64, expected whole numbers"):
        plan_from_counts(tmp_path / "a.npz")


def test_outputs_are_tried_before_the_work(tmp_path: Path):
    (tmp_path / "file").write_text("old")
    assert output_folder(tmp_path / "new" / "run") == tmp_path / "new" / "run"
    assert output_file(tmp_path / "other" / "a.npz").parent.is_dir()
    assert output_file(tmp_path / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "new", "other"]
    for given, work in (("file", output_folder), ("file/run", output_folder), ("file/a.npz", output_file)):
        with pytest.raises(DataError, match=rf"--out .*{given}.*(is a file|Not a directory)"):
            work(tmp_path / given)
    with pytest.raises(DataError, match=r"--json .*new is a folder, expected the name of a file"):
        output_file(tmp_path / "new", option="--json")
    with pytest.raises(DataError, match="--out /proc/run cannot be written"):
        output_folder("/proc/run")
