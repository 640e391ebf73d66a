"""Checked settings from YAML files, for runs, sweeps and clusters alike, with errors of one line."""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ecul.errors import ConfigError


class Strict(BaseModel):
    """A frozen record that refuses unknown keys; the string under a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Checked = TypeVar("Checked")
_MOST_NAMED = 13
"""Keys of a section that an error names; a run's file has as many at its top."""
_ELSEWHERE = 0.75
"""Likeness from which a key of another section may be meant: `learning_rate` has 0.81 with `optim.learning_rate`."""
_BESIDE = 0.5
"""Likeness of names from which a key beside may be meant, where no other is: `kk` has it with `k3`."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; a setting given twice is a mistake to be named."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands there twice; the text names both lines.
        """
        first: dict[str, int] = {}
        for key, _ in node.value:
            name, line = key.value, key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and name in first:
                raise _DuplicateKeyError(f"the key {name} stands in line {first[name]} and again in line {line}")
            if isinstance(key, yaml.ScalarNode):
                first[name] = line
        return super().construct_mapping(node, deep=deep)


class _DuplicateKeyError(yaml.YAMLError):
    """A key stands twice in one mapping."""


def load_yaml(path: str | Path, *, what: str, keys: str, shipped: str) -> dict[str, Any]:
    """Returns the mapping in a YAML file.

    Args:
        path: the file.
        what: kind of file, for messages (`config`, `sweep`, ...).
        keys: examples of the keys that are expected.
        shipped: folder with examples.

    Raises:
        ConfigError: the file cannot be read, is not YAML, holds a key twice, or holds something else than keys.
    """
    try:
        # the loader is a SafeLoader: it makes plain data only
        tree = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeyLoader) or {}
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}; shipped ones are in {shipped}") from None
    except _DuplicateKeyError as error:
        raise ConfigError(f"{what} {path}: {error}; keep one of them") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{what} {path} holds {type(tree).__name__}, expected keys such as {keys}")
    return tree


def check(record: type[Checked], tree: Mapping[str, Any], *, what: str = "") -> Checked:
    """Returns a checked record of a nested mapping.

    Args:
        record: a `Strict` class, or a dataclass with ranges in its annotations.
        tree: its values.
        what: put in front of the message, such as the file's name.

    Raises:
        ConfigError: keys are unknown or missing, or values out of range; one line names each.
    """
    try:
        return TypeAdapter(record).validate_python(tree)
    except ValidationError as error:
        problems = "; ".join(_problem(record, item) for item in error.errors())
        raise ConfigError(f"{what}: {problems}" if what else problems) from None


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Returns {path: value} of `path=value` texts; values are YAML, so numbers, booleans and null work.

    Raises:
        ConfigError: a text without `=`.
    """
    pairs: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {text!r} is not path=value, such as seed=1")
        try:
            pairs[path.strip()] = yaml.load(value, _UniqueKeyLoader)
        except yaml.YAMLError:
            raise ConfigError(f"--set {text!r}: the value is not YAML; quote it") from None
    return pairs


def apply_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Returns a copy of a nested mapping with `path=value` texts applied."""
    return merge(tree, parse_assignments(overrides))


def merge(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a nested mapping with {dotted path: value} applied.

    Raises:
        ConfigError: a path leads through a plain value.
    """
    result = _copy(tree)
    for path, value in values.items():
        *parents, last = path.split(".")
        node = result
        for depth, name in enumerate(parents, start=1):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                above = ".".join(parents[:depth])
                raise ConfigError(f"{path}: {above} holds a value, not keys; set {above} itself")
        node[last] = value
    return result


def overlay(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a nested mapping with the values of another one in it; what both hold is the other's."""
    result = _copy(tree)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            result[key] = overlay(below, value)
        else:
            result[key] = value
    return result


def setting_paths(record: type[Any], prefix: str = "") -> list[str]:
    """Returns the dotted paths of all settings of a record, in the order of definition."""
    paths: list[str] = []
    for name, annotation in fields_of(record).items():
        path = f"{prefix}{name}"
        paths += setting_paths(annotation, f"{path}.") if _is_record(annotation) else [path]
    return paths


def fields_of(record: type[Any]) -> dict[str, Any]:
    """Names of a record's fields, as they are written in files, with their annotations."""
    if issubclass(record, BaseModel):
        return {field.alias or name: field.annotation for name, field in record.model_fields.items()}
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def _is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation))


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Returns `; did you mean NAME?` with the known name that is most like a wrong one; nothing if none is."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _problem(record: type[Any], item: ErrorDetails) -> str:
    """One problem of pydantic's in our words."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {path}{_known_keys(record, item['loc'])}"
    if item["type"] == "missing":
        return f"{path} is missing"
    got = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
    where = f"{path}: " if path else ""
    return f"{where}{item['msg'].removeprefix('Value error, ')}{got}"


def _known_keys(record: type[Any], loc: tuple[int | str, ...]) -> str:
    """The known key that is most like an unknown one, or else all that its section has."""
    path, siblings = ".".join(str(part) for part in loc), _siblings(record, loc)
    section, _, last = path.rpartition(".")
    names = [name.rpartition(".")[2] for name in siblings]
    # beside the key names alone count: what all paths of a section begin with makes none of them likely
    beside = difflib.get_close_matches(last, names, n=1)
    others = [known for known in setting_paths(record) if known not in siblings]
    alike = [known for known in others if difflib.get_close_matches(last, [known.rpartition(".")[2]])]
    if not beside and (near := difflib.get_close_matches(path, alike, n=1, cutoff=_ELSEWHERE)):
        return f"; did you mean {near[0]}?"
    if near := beside or difflib.get_close_matches(last, names, n=1, cutoff=_BESIDE):
        return f"; did you mean {siblings[names.index(near[0])]}?"
    if not names:
        return ""
    shown = names if len(names) <= _MOST_NAMED else [*names[:_MOST_NAMED], "... (docs/configuration.md)"]
    return f"; {f'{section} has' if section else 'expected one of'} {', '.join(shown)}"


def _siblings(record: type[Any], loc: tuple[int | str, ...]) -> list[str]:
    """Paths beside `loc`, which may lead through lists and mappings of records."""
    annotation: Any = record
    for part in loc[:-1]:
        if not _is_record(annotation):  # a list or mapping, of which `part` is an index or key
            annotation = next(records_in(annotation), None)
        else:
            annotation = fields_of(annotation).get(str(part), annotation)
    annotation = next(records_in(annotation), None)
    prefix = "".join(f"{part}." for part in loc[:-1])
    return [f"{prefix}{name}" for name in fields_of(annotation)] if _is_record(annotation) else []


def records_in(annotation: Any) -> Iterator[type[Any]]:
    """The record classes in an annotation: itself, or inside of unions, lists and mappings."""
    if _is_record(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from records_in(argument)
