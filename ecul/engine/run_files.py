"""Where a run keeps its checkpoints. Commands that only look at a run need no torch for it."""

CHECKPOINTS = "checkpoints"
STATE_FILE = "state.pt"
CHECKPOINT_PATTERN = f"{CHECKPOINTS}/epoch_*/{STATE_FILE}"


def checkpoint_folder(epoch: int) -> str:
    """Returns the folder of an epoch's checkpoint, relative to the run directory."""
    return f"{CHECKPOINTS}/epoch_{epoch:04d}"


def checkpoint_path(epoch: int) -> str:
    """Returns the file of an epoch's checkpoint, relative to the run directory."""
    return f"{checkpoint_folder(epoch)}/{STATE_FILE}"


def kept_path(epoch: int, keep_every: int | None) -> str | None:
    """Returns the file for an epoch's checkpoint that is never removed, relative to the run directory.

    Args:
        epoch: counted from 1.
        keep_every: `runtime.keep_every`.

    Returns:
        None where this epoch's checkpoint is not kept.
    """
    return f"kept/epoch_{epoch:04d}/{STATE_FILE}" if keep_every and epoch % keep_every == 0 else None
