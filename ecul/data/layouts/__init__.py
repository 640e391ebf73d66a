"""The folder layouts of datasets: one module a layout, named in `ecul.names.LayoutName`, with a record `LAYOUT`."""

from collections.abc import Sequence
from importlib import import_module
from typing import get_args

from ecul.data.layouts.layout import Layout
from ecul.errors import ConfigError, DataError
from ecul.names import LayoutName
from ecul.types import RetrievalProtocol

LAYOUTS: dict[str, Layout] = {name: import_module(f"{__name__}.{name}").LAYOUT for name in get_args(LayoutName)}
PROTOCOLS = {protocol.name: protocol for layout in LAYOUTS.values() for protocol in layout.protocols}


def find_layout(name: str) -> Layout:
    """Returns the layout of a name.

    Raises:
        DataError: an unknown name.
    """
    if name not in LAYOUTS:
        raise DataError(f"unknown layout {name!r}; expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def protocols_of(layout: str, names: Sequence[str] = ()) -> tuple[RetrievalProtocol, ...]:
    """Returns the evaluation protocols of a layout: those that are named, or all.

    Raises:
        DataError: an unknown layout.
        ConfigError: a name that is none of the layout's protocols.
    """
    known = {protocol.name: protocol for protocol in find_layout(layout).protocols}
    for name in names:
        if name not in known:
            whose = "belongs to another layout" if name in PROTOCOLS else "is unknown"
            raise ConfigError(f"protocol {name!r} {whose}; the data is laid out as {layout}: {', '.join(known)}")
    return tuple(known[name] for name in names) or tuple(known.values())
