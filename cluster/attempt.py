"""The tasks of one attempt at a clustering: submitted, watched, and ended together.

Ray tells when a task has ended, not when it has begun. So each task notes it in the key-value store of the cluster's
head, under a key of its own, with the node that it runs on.
"""

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put


class Attempt:
    """Tasks that are submitted with the same options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Takes the options of every task."""
        self._options = dict(options)
        self._keys = f"ecul/begun/{uuid.uuid4().hex}/"
        self._tasks: list[tuple[str, Any]] = []

    def submit(self, function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """Returns the reference, or with `num_returns` the references, to what the function will return.

        Args:
            function: runs in the task.
            inputs: its arguments; references are replaced by their values.
            options: of this task, besides the common ones.
        """
        key = f"{self._keys}{len(self._tasks)}"
        references: Any = ray.remote(_noting).options(**self._options | options).remote(key, function, *inputs)
        self._tasks.append((key, references[0] if isinstance(references, list) else references))
        return references

    def is_waiting(self) -> bool:
        """Returns whether some tasks have not ended and none of these runs."""
        unfinished = self._unfinished()
        if not unfinished:
            return False
        living = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        begun = (_internal_kv_get(key) for key, _ in unfinished)
        return not any(node is not None and node.decode() in living for node in begun)

    def end(self) -> None:
        """Ends what still waits or runs, and removes the notes."""
        for _, reference in self._unfinished():
            # by force: compiled code does not notice a polite request
            ray.cancel(reference, force=True, recursive=False)
        _internal_kv_del(self._keys, del_by_prefix=True)

    def _unfinished(self) -> list[tuple[str, Any]]:
        if not self._tasks:
            return []
        references = [reference for _, reference in self._tasks]
        done = set(ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)[0])
        self._tasks = [(key, reference) for key, reference in self._tasks if reference not in done]
        return self._tasks


def _noting(key: str, function: Callable[..., Any], *inputs: Any) -> Any:
    """Runs in the task."""
    with suppress(Exception):  # without the note, the task counts as one that waits: it is slower, not wrong
        _internal_kv_put(key, ray.get_runtime_context().get_node_id())
    return function(*inputs)
