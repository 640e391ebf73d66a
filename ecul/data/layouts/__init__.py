"""The folder layouts of datasets: one module a layout, named in `ecul.names.LayoutName`, with a record `LAYOUT`."""

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


def find_protocol(name: str) -> RetrievalProtocol:
    """Returns the evaluation protocol of a name.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol {name!r} is unknown, expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
