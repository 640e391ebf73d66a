"""Files that are read and written in several places: atomic writes and .npz archives."""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.errors import DataError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to; when the block ends it replaces `path` in one step.

    A reader sees the old file or the whole new one. If the block raises, the new file is removed. Its name is hidden
    and ends in `.partial`, so that no pattern such as `*.npz` finds it, and holds the process's number, since two
    processes may write the same report.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str) -> None:
    """Replaces a text file (UTF-8) in one step; missing folders above it are made.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(content, encoding="utf-8")


def read_npz(
    path: str | Path, needed: Sequence[str], *, optional: Sequence[str] = (), what: str = "an .npz archive"
) -> dict[str, NDArray[Any]]:
    """Returns arrays of an .npz file by name: all of `needed`, and those of `optional` that it holds.

    Args:
        path: the file. Pickled objects in it are refused.
        needed: names that must be there.
        optional: names that may be there; other arrays are not read.
        what: what the file should be, for the error message.

    Raises:
        DataError: the file cannot be read, is no .npz archive or is damaged, or an array is missing.
    """
    try:
        with open(path, "rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} holds one bare array, expected {what}; write it with numpy.savez")
            missing = [name for name in needed if name not in archive.files]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(archive.files) or 'nothing'}")
            return {name: archive[name] for name in (*needed, *optional) if name in archive.files}
    except OSError as error:
        raise DataError(f"cannot read {what} {path}: {error.strerror or error}") from None
    except (EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        # what numpy and zipfile raise for foreign, cut, damaged, pickled, encrypted and unknown archives, in that order
        raise DataError(f"{path} is damaged or not {what} of plain arrays; make it again") from None
