"""Checked settings from YAML files, for runs, sweeps and clusters alike, with errors of one line."""

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ecul.errors import ConfigError


class Strict(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Model = TypeVar("Model", bound=BaseModel)


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


def check(model: type[Model], tree: Mapping[str, Any], *, what: str = "") -> Model:
    """Returns a checked record of a nested mapping.

    Args:
        model: the record's class.
        tree: its values.
        what: put in front of the message, such as the file's name.

    Raises:
        ConfigError: keys are unknown or missing, or values out of range; one line names each.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_problem(model, item) for item in error.errors())
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


def setting_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Returns the dotted paths of all settings of a record, in the order of definition."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner: Any = field.annotation
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        found += setting_paths(inner, f"{path}.") if nested else [path]
    return found


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Returns `; did you mean NAME?` with the known name that is most like a wrong one; nothing if none is."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _problem(model: type[BaseModel], item: ErrorDetails) -> str:
    """One problem of pydantic's in our words."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = [*setting_paths(model), *_siblings(model, item["loc"])]
        return f"unknown key {path}{did_you_mean(path, known)}"
    if item["type"] == "missing":
        return f"{path} is missing"
    got = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
    where = f"{path}: " if path else ""
    return f"{where}{item['msg'].removeprefix('Value error, ')}{got}"


def _siblings(model: type[BaseModel], loc: tuple[int | str, ...]) -> Iterator[str]:
    """Paths beside `loc` that the models on its way know; it may lead through lists and mappings of models."""
    annotation: Any = model
    for part in loc[:-1]:
        inside = next(_models(annotation), None)
        field = inside.model_fields.get(str(part)) if inside is not None and annotation is inside else None
        annotation = field.annotation if field is not None else inside
    inside = next(_models(annotation), None)
    prefix = "".join(f"{part}." for part in loc[:-1])
    for name, field in (inside.model_fields if inside is not None else {}).items():
        yield f"{prefix}{field.alias or name}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The record classes in an annotation: itself, or inside of unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, tuple, list, dict):
        for argument in get_args(annotation):
            yield from _models(argument)
