"""The names of runs and sweeps: one pattern for both, since a name is a folder, a part of a URI and of a W&B id."""

import re

from ecul.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def checked_name(name: str, *, option: str = "--name") -> str:
    """Returns the name.

    Args:
        name: of a run or a sweep.
        option: of the command, for the text of the error.

    Raises:
        ConfigError: it is not a name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{option} {name!r}: a name has up to 80 letters, digits, '.', '_' and '-', and begins with a letter or "
            "digit; its folder goes into --storage"
        )
    return name
