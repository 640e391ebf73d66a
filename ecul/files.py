"""Files that are read and written in several places: atomic writes, locks and .npz archives."""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ecul.errors import ConfigError, DataError

log = logging.getLogger(__name__)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""


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


def output_folder(path: str | Path, *, option: str = "--out") -> Path:
    """Returns a folder that files can be written into; it is made if it is missing.

    Args:
        path: the folder.
        option: where the user gave it, for the error.

    Raises:
        DataError: it is a file, or nothing can be written there.
    """
    folder = Path(path)
    _try_to_write(folder, f"{option} {path}")
    return folder


def output_file(path: str | Path, *, option: str = "--out") -> Path:
    """Returns the path of a file that can be written; missing folders above it are made.

    Commands call this before their work, so that none is lost.

    Args:
        path: the file; an old one is kept until the new one is whole.
        option: where the user gave it, for the error.

    Raises:
        DataError: it is a folder, or nothing can be written there.
    """
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{option} {path} is a folder, expected the name of a file")
    _try_to_write(file.parent, f"{option} {path}")
    return file


def _try_to_write(folder: Path, given: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise DataError(f"{given}: {folder} is a file, expected a folder; give another name") from None
    except OSError as error:
        raise DataError(f"{given} cannot be written ({error.strerror or error}); give another place") from None


def write_atomically(path: Path, content: str) -> None:
    """Replaces a text file (UTF-8) in one step; missing folders above it are made.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(content, encoding="utf-8")


@contextlib.contextmanager
def locked(folder: Path, *, what: str) -> Iterator[None]:
    """Holds a folder, which is made if it is missing, for this process alone.

    The operating system releases the lock when the process ends, however it ends, so that no lock can be stale. A
    folder that was made for it and into which nothing was written is removed again.

    Args:
        folder: holds the lock file, `.lock`.
        what: it holds, such as `run`, for the text of the error.

    Raises:
        ConfigError: another process holds the folder.
        DataError: nothing can be written there.
    """
    path = folder / ".lock"
    made = not folder.is_dir()
    output_folder(folder, option=what)
    with path.open("a+") as file:
        _lock(file, f"{what} {folder}")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the folder may be another process's by now, or gone
                if made and [*folder.iterdir()] == [path]:
                    path.unlink()
                    folder.rmdir()


def _lock(file: IO[str], what: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise ConfigError(f"{what} is in use by {holder}; wait for its end, or stop it") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s: this file system knows no locks; make sure that no second process works there", file.name)
    # a process that ended just now may have removed the file that is locked here
    if os.fstat(file.fileno()).st_nlink == 0:
        raise ConfigError(f"{what} was in use until now; start again")


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
