"""The keys of a training's random streams, all in one place so that no two of them can name the same stream.

A key is (seed, epoch, slot, ...) for `ecul.runtime.generator`. numpy fills a short key up with zeros, so (1, 2, 100)
and (1, 2, 100, 0) are the same stream. Therefore the plan has a slot of its own, which no step takes.
"""

_PLAN_SLOT = 100
_MEMORY = 101
"""In the place of a view's number, of which there are fewer."""


def plan_key(seed: int, epoch: int) -> tuple[int, int, int]:
    """Returns the key of an epoch's batches."""
    return seed, epoch, _PLAN_SLOT


def initial_key(seed: int, epoch: int) -> tuple[int, int, int, int]:
    """Returns the key of an epoch's random initial rows of the memories."""
    return seed, epoch, _PLAN_SLOT, 1


def view_key(seed: int, epoch: int, step: int, view: int) -> tuple[int, int, int, int]:
    """Returns the key of a view's augmentations.

    Args:
        seed: of the run.
        epoch: counted from 1.
        step: counted from 1.
        view: number of the view, from 0 to 100.
    """
    return seed, epoch, _slot(step), view


def memory_key(seed: int, epoch: int, step: int) -> tuple[int, int, int, int]:
    """Returns the key of a step's random choices in the memory update."""
    return seed, epoch, _slot(step), _MEMORY


def _slot(step: int) -> int:
    """The step's own slot; from the plan's slot on, it is one further."""
    return step if step < _PLAN_SLOT else step + 1
