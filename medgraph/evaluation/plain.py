"""Dataclasses of results to plain values for JSON and back, by their annotations; nested values under dotted keys."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dataclasses become dictionaries, tuples lists, and NaN None.

    Example:
        >>> to_plain({"a": (1, float("nan"))})
        {'a': [1, None]}
    """
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys.

    Example:
        >>> flat({"seed": 0, "stage2": {"steps": 300}})
        {'seed': 0, 'stage2.steps': 300}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def from_plain(cls: type[T], values: Mapping[str, Any]) -> T:
    """Inverse of `to_plain` for a dataclass of dataclasses, ``tuple[X, ...]``, ``Mapping[str, X]`` and plain values.

    Args:
        cls: the dataclass; fields that the values lack get their default.
        values: what `to_plain` made.
    """
    hints = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls) if field.name in values]  # type: ignore[arg-type]
    return cls(**{name: _decode(hints[name], values[name]) for name in known})


def _decode(hint: Any, value: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _decode(next(arm for arm in inner if arm is not types.NoneType), value)
    if origin is tuple:
        return tuple(_decode(inner[0], item) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _decode(inner[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(hint, value)  # type: ignore[arg-type]
    return math.nan if hint is float and value is None else value
