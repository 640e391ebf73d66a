"""The reference of settings, made from the settings themselves: path, values, default, meaning."""

import dataclasses
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ecul.parameters import PRESET_DEFAULTS
from ecul.schema import fields_of, records_in

_WIDTH = 98
_SEEDS_END = 2**31
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting, as the reference shows it.

    Attributes:
        path: dotted, as in files and `--set`.
        values: type and range in words.
        default: YAML in backticks, or words; None = the setting must be given.
        meaning: the string under the field; empty if there is none.
    """

    path: str
    values: str
    default: str | None
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A record of settings: its path (empty at the top), what it is about, and the settings directly in it."""

    path: str
    about: str
    settings: tuple[Setting, ...]


def sections(record: type[Any]) -> list[Section]:
    """Returns the sections of a record of settings, the outermost first."""
    schema = TypeAdapter(record).json_schema()
    defs = {name: _with_inherited(inner, record) for name, inner in schema.get("$defs", {}).items()}
    return list(_sections(schema, defs, ""))


def reference_text(record: type[Any], *, title: str, about: str) -> str:
    """Returns a record's settings as Markdown, in lines of at most 100 characters.

    Sections with the same text stand there once, with the paths of all of them.
    """
    lines = [f"## {title}", "", *textwrap.wrap(about, _WIDTH)]
    for section, others in _without_repeats(sections(record)):
        if not section.settings:
            continue
        lines += ["", f"### `{section.path}`" if section.path else "### At the top", "", *_wrapped(section.about), ""]
        if others:
            lines += [*textwrap.wrap(f"The same in {', '.join(f'`{path}`' for path in others)}.", _WIDTH), ""]
        for setting in section.settings:
            default = "must be given" if setting.default is None else f"default {setting.default}"
            name = _name(setting)
            lines += textwrap.wrap(
                f"- **`{name}`** ({setting.values}; {default}). {setting.meaning}", _WIDTH, subsequent_indent="  "
            )
    return "\n".join(lines) + "\n"


def _without_repeats(found: list[Section]) -> Iterator[tuple[Section, list[str]]]:
    """Each section that differs from those before it in more than its path, with the paths of those after it."""
    others: dict[tuple[object, ...], list[str]] = {}
    first: list[tuple[Section, list[str]]] = []
    for section in found:
        text = (section.about, *(dataclasses.replace(each, path=_name(each)) for each in section.settings))
        if text in others:
            others[text].append(section.path)
        else:
            others[text] = []
            first.append((section, others[text]))
    yield from first


def _name(setting: Setting) -> str:
    return setting.path.rpartition(".")[2]


def _with_inherited(schema: dict[str, Any], record: type[Any]) -> dict[str, Any]:
    """The schema of a record inside `record`, with inherited fields documented too (pydantic reads a class's own)."""
    inner = next((inner for inner in _all_records(record) if inner.__name__ == schema.get("title")), None)
    for base in inner.__mro__[1:] if inner is not None and dataclasses.is_dataclass(inner) else ():
        known = TypeAdapter(base).json_schema()["properties"] if dataclasses.is_dataclass(base) else {}
        for name, field in known.items():
            schema["properties"][name].setdefault("description", field.get("description"))
    return schema


def _all_records(record: type[Any]) -> Iterator[type[Any]]:
    yield record
    for annotation in fields_of(record).values():
        for inner in records_in(annotation):
            yield from _all_records(inner)


def _sections(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> Iterator[Section]:
    settings: list[Setting] = []
    inner: list[tuple[str, Mapping[str, Any]]] = []
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        full = f"{path}.{name}" if path else name
        target = _resolved(field, defs)
        if "properties" in target:
            inner.append((full, target))
            continue
        default = None if name in required else f"`{json.dumps(field.get('default', {}))}`"
        meaning = _one_line(field.get("description"))
        if "preset" in schema["properties"] and (numbers := _defaults_of_presets(name)):
            default, meaning = "from the preset", f"{meaning} Defaults: {numbers}."
        settings.append(Setting(path=full, values=_values(field, defs), default=default, meaning=meaning))
        inner += _records_of_keys(full, target, defs)
    yield Section(path=path, about=schema.get("description", ""), settings=tuple(settings))
    for full, target in inner:
        yield from _sections(target, defs, full)


def _records_of_keys(
    path: str, target: Mapping[str, Any], defs: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    """The record, or the record in a list, that each key of a mapping leads to; empty if there is none."""
    values = _resolved(target.get("additionalProperties"), defs)
    record = _resolved(values.get("items", values), defs)
    # the string under a mapping names its keys: "{path: domain}"
    named = re.match(r"\{(\w+):", target.get("description", ""))
    key = named[1].upper() if named else "KEY"
    return [(f"{path}.{key}", record)] if "properties" in record else []


def _defaults_of_presets(name: str) -> str:
    """The defaults of a number of clustering presets, such as `10 (emcc), 30 (kreciprocal)`; empty if it has none."""
    presets: dict[int | str, list[str]] = {}
    for preset, defaults in PRESET_DEFAULTS.items():
        if (default := defaults.get(name)) is not None:
            presets.setdefault(default, []).append(f"`{preset}`")
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in presets.items())


def _resolved(field: Any, defs: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(field, Mapping):
        return {}
    return defs[field["$ref"].rpartition("/")[2]] if "$ref" in field else field


def _values(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """Type and range of a JSON schema in words."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_values(part, defs) for part in field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "$ref" in field:
        return "settings of its own"
    kind = field.get("type")
    if kind == "array":
        parts = field.get("prefixItems", [field.get("items", {})])
        return "list of " + " and ".join(dict.fromkeys(_values(part, defs) for part in parts))
    if kind == "object":
        values = field.get("additionalProperties")
        return f"keys with {_values(values, defs)}" if isinstance(values, Mapping) else "keys with any value"
    bounds = [text.format(_number(field[key])) for key, text in _BOUNDS.items() if key in field]
    return " ".join([_TYPES.get(kind or "", "any value"), ", ".join(bounds)]).strip()


def _number(value: float) -> str:
    return "2^31" if value == _SEEDS_END else f"{value:,g}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _wrapped(text: str) -> list[str]:
    """Paragraphs wrapped, lists and `Raises:` blocks of a docstring left out."""
    first = text.split("\n\nRaises:")[0].split("\n\nAttributes:")[0]
    paragraphs = [textwrap.wrap(_one_line(paragraph), _WIDTH) for paragraph in first.split("\n\n")]
    return [line for number, lines in enumerate(paragraphs) for line in ([""] if number else []) + lines]
