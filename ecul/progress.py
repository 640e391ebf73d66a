"""Signs of life from work that takes longer than two seconds: lines of the log, and nothing before that."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import ClassVar, Self, TypeVar

log = logging.getLogger(__name__)
FIRST_S = 2.0
EVERY_S = 10.0

T = TypeVar("T")


class Progress:
    """Says every ten seconds how far some work is, from its third second on.

    with Progress("reading images", total=len(paths)) as progress:
        ...
        progress.advance()

    Of works inside each other only the innermost speaks; around a silent one none does. `advance` may be called from
    any thread.
    """

    _open: ClassVar[list["Progress"]] = []

    def __init__(self, label: str, total: int | None = None, *, shown: bool = True) -> None:
        """Says nothing yet.

        Args:
            label: what is done.
            total: parts of the work; None where they cannot be counted.
            shown: False for one that shall stay silent, such as on all ranks but 0.
        """
        self._label, self._total = label, total
        self._done, self._lock, self._ended = 0, threading.Lock(), threading.Event()
        self._shown = shown and log.isEnabledFor(logging.INFO)
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        self._open.append(self)  # a silent one, too: it says that somebody else shows this work
        if self._shown:
            threading.Thread(target=self._watch, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._open.remove(self)

    def advance(self, parts: int = 1) -> None:
        """Counts parts that are done."""
        with self._lock:
            self._done += parts

    def _watch(self) -> None:
        wait = FIRST_S
        while not self._ended.wait(wait):
            if self._open and self._open[-1] is self:
                log.info("%s", self._line(time.perf_counter() - self._start))
            wait = EVERY_S

    def _line(self, seconds: float) -> str:
        if not self._total:
            return f"{self._label}: {seconds:.0f} s"
        share = 100 * self._done / self._total
        return f"{self._label}: {self._done:,} of {self._total:,} ({share:.0f} %), {seconds:.0f} s"


def track(parts: Iterable[T], label: str, *, total: int, shown: bool = True) -> Iterator[T]:
    """Yields the parts of some work; see `Progress`."""
    with Progress(label, total, shown=shown) as progress:
        for part in parts:
            yield part
            progress.advance()
