"""Run directories on any storage that pyarrow or fsspec understands."""

import json
import logging
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec.core
import pyarrow
from pyarrow import fs as arrow_fs

from ecul.engine.run_directory import METRICS_FILE, parse_records
from ecul.engine.run_files import CHECKPOINTS
from ecul.errors import ConfigError

log = logging.getLogger(__name__)
_EXCLUSIVE_PROTOCOLS = {"s3", "s3a", "memory"}
"""Those of fsspec whose `pipe_file(mode="create")` is known to fail where the file exists; others ignore the mode."""
_ARROW_SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
SETTINGS_FILE = "cluster.json"
EVENTS_FILE = "events.jsonl"
SNAPSHOT_FILE = "checkpoint_manager_snapshot.json"


def resolve_storage(storage: str) -> str:
    """Returns the storage as workers need it: an absolute path, or the URI as it is."""
    return storage if "://" in storage else str(Path(storage).expanduser().absolute())


def open_storage(storage: str) -> tuple[arrow_fs.FileSystem, str]:
    """Returns the filesystem of a path or URI and the path in it: of pyarrow where it has one, else of fsspec.

    Raises:
        ConfigError: the storage is of an unknown kind or cannot be reached.
    """
    resolved = resolve_storage(storage)
    scheme = resolved.partition("://")[0]
    try:
        if "://" not in resolved or scheme in _ARROW_SCHEMES:
            return arrow_fs.FileSystem.from_uri(resolved)
        filesystem, path = fsspec.core.url_to_fs(resolved)
    except (pyarrow.ArrowInvalid, OSError, ValueError, ImportError) as error:
        raise ConfigError(f"storage {storage}: {str(error).splitlines()[0]}") from None
    return arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(filesystem)), path


class RunFolder:
    """The folder of one run, local or remote.

    Attributes:
        uri: as a user would write it.
        name: of the run.
        filesystem: of the storage.
        root: the storage's path in its filesystem.
        path: the run's.
    """

    def __init__(self, storage: str, name: str) -> None:
        """Opens the storage; the folder itself may be missing.

        Args:
            storage: path or URI that all runs share.
            name: of the run.

        Raises:
            ConfigError: the storage is of an unknown kind or cannot be reached.
        """
        self.uri = f"{storage.rstrip('/')}/{name}"
        self.name = name
        self.filesystem, root = open_storage(storage)
        self.root = root.rstrip("/")
        self.path = f"{self.root}/{name}"

    @property
    def local(self) -> Path | None:
        """The folder as a path, where it is one."""
        return Path(self.path) if isinstance(self.filesystem, arrow_fs.LocalFileSystem) else None

    def exists(self, name: str = "") -> bool:
        """Returns whether the folder, or a file in it, exists."""
        return self.filesystem.get_file_info(self._join(name)).type != arrow_fs.FileType.NotFound

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file, or None if it does not exist."""
        try:
            with self.filesystem.open_input_stream(self._join(name)) as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replaces a file; in one step if the storage can rename. Missing folders above it are made."""
        target = self._join(name)
        # a name of its own: several processes may write the same file at once
        partial = target if self.local is None else f"{target}.{uuid.uuid4().hex}.partial"

        def write() -> None:
            with self.filesystem.open_output_stream(partial) as stream:
                stream.write(content)
            if partial != target:
                self.filesystem.move(partial, target)

        self._in_folder_of(target, write)

    def create(self, name: str, content: bytes) -> None:
        """Writes a file that must not exist yet; of several processes that try, one succeeds.

        Raises:
            FileExistsError: it exists.
            NotImplementedError: the storage has no such operation.
        """
        path = self._join(name)
        handler = getattr(self.filesystem, "handler", None)

        def create() -> None:
            if self.local is not None:
                with open(path, "xb") as file:
                    file.write(content)
            elif isinstance(handler, arrow_fs.FSSpecHandler) and _creates_exclusively(handler.fs):
                handler.fs.pipe_file(path, content, mode="create")
            else:
                raise NotImplementedError(f"{self.uri}: no exclusive creation")

        self._in_folder_of(path, create)

    def _in_folder_of(self, path: str, write: Callable[[], None]) -> None:
        """Makes a file's folder and writes, again where another process has removed the folder, empty, in between."""
        for tries_left in reversed(range(10)):
            try:
                with suppress(FileExistsError):  # it was there, but no longer when pyarrow looked what it is
                    self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
                return write()
            except FileNotFoundError:
                if not tries_left:
                    raise

    def remove_partials(self) -> None:
        """Removes what writers that were killed left half written; only a local folder has such files."""
        if self.local is not None and self.local.is_dir():
            for partial in self.local.rglob("*.partial"):
                partial.unlink(missing_ok=True)

    def remove(self, *names: str) -> None:
        """Removes files of one sub-folder, then that and the folder itself where they are empty."""
        for name in names:
            with suppress(FileNotFoundError):
                self.filesystem.delete_file(self._join(name))
        for folder in (names[0].rpartition("/")[0], ""):
            if self.local is not None:
                with suppress(OSError):  # another process has written into it, or removed it
                    (self.local / folder).rmdir()
            elif self.exists(folder) and not self.names(folder):
                self.filesystem.delete_dir(self._join(folder))

    def names(self, folder: str = "") -> list[str]:
        """Names of what lies directly in a sub-folder, which may be missing, or in the folder itself."""
        selector = arrow_fs.FileSelector(self._join(folder), allow_not_found=True)
        try:
            return [info.base_name for info in self.filesystem.get_file_info(selector)]
        except FileNotFoundError:  # it was missing, but another process made it before pyarrow looked why
            return []

    def append(self, name: str, text: str) -> None:
        """Adds text to the end of a file; on storage that cannot append, the whole file is written again."""
        if self.local is None:
            self.write(name, (self.read(name) or b"") + text.encode())
            return
        path = self._join(name)

        def append() -> None:
            with open(path, "ab") as file:
                file.write(text.encode())

        self._in_folder_of(path, append)

    def read_json(self, name: str) -> Any | None:
        """Returns a file's JSON, or None if it does not exist."""
        content = self.read(name)
        return None if content is None else json.loads(content)

    def upload(self, source: Path) -> None:
        """Copies the files of a local folder, without its sub-folders, into this one."""
        self.filesystem.create_dir(self.path, recursive=True)
        for file in sorted(source.iterdir()):
            if file.is_file():
                with file.open("rb") as content, self.filesystem.open_output_stream(self._join(file.name)) as stream:
                    shutil.copyfileobj(content, stream)

    def picture_names(self) -> list[str]:
        """Names of the pictures directly inside the folder, without their suffix, in order."""
        names = map(Path, self.names())
        return sorted(name.stem for name in names if name.suffix == ".png")

    def checkpoint_names(self) -> list[str]:
        """Names of the checkpoint folders, oldest epoch first."""
        return sorted(name for name in self.names(CHECKPOINTS) if name.startswith("epoch_"))

    @property
    def newest_epoch(self) -> int:
        """Epoch of the newest checkpoint folder; 0 without one."""
        names = self.checkpoint_names()
        return int(names[-1].removeprefix("epoch_")) if names else 0

    def drop_broken_snapshot(self) -> bool:
        """Removes Train's list of checkpoints if it is truncated or names lost ones; returns whether it did.

        The run then continues from the newest readable checkpoint in the folder.
        """
        content = self.read(SNAPSHOT_FILE)
        if content is None:
            return False
        try:
            listed = [entry["checkpoint_dir_name"] for entry in json.loads(content)["checkpoint_results"]]
        except (ValueError, KeyError, TypeError):
            listed = None
        if listed is not None and all(self.exists(name) for name in listed):
            return False
        self.filesystem.delete_file(self._join(SNAPSHOT_FILE))
        return True

    def _join(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path


def _creates_exclusively(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return not _EXCLUSIVE_PROTOCOLS.isdisjoint({protocol} if isinstance(protocol, str) else protocol)


def record_event(folder: RunFolder, event: str, **details: Any) -> None:
    """Adds a line to the run's events: the time, the event's name, and its details.

    It never raises: events are written when things go wrong, and a storage that is down then must not end the run.
    """
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **details}
    try:
        folder.append(EVENTS_FILE, json.dumps(line) + "\n")
    except Exception as error:  # whatever the storage's library raises
        log.warning("event not recorded in %s (%s: %s): %s", folder.uri, type(error).__name__, error, json.dumps(line))


def epoch_records(folder: RunFolder) -> list[dict[str, float]]:
    """Returns the run's metrics by epoch; a last line that is still being written is left out."""
    return parse_records((folder.read(METRICS_FILE) or b"").decode())
