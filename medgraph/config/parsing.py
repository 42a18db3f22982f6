"""From YAML files and ``key=value`` arguments to a configuration.

Values stay text until the type of their field is known, so that ``data.subsets=[01,14]`` keeps its zero and
``run.name=1e3`` its spelling.
"""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medgraph.config.choices import CHOICES, choose
from medgraph.config.errors import ConfigError, suggest
from medgraph.config.sources import DATA
from medgraph.config.validation import validate

C = TypeVar("C")


def parse(default: C, argv: Sequence[str] = (), check: Callable[[Any], None] = validate) -> C:
    """Lay YAML files and command line arguments over an experiment's defaults.

    Files come first, then arguments, each in order; the last value of a key wins. Within each of them the choices
    (``data=NAME``, ``model=NAME``, ``alignment=NAME``, ``mix=NAME``) are made before their options are set.

    Args:
        default: the experiment's configuration; not changed.
        argv: ``key=value`` or ``--key=value``; ``config=file.yaml`` names a file.
        check: refuses what types cannot; of an `ExperimentConfig` by default.

    Returns:
        A new, validated configuration of plain dataclasses.

    Raises:
        ConfigError: for anything that is not understood, with the key, the value and the way out.

    Example:
        >>> from medgraph.config import ExperimentConfig
        >>> config = parse(ExperimentConfig(), ["seed=1", "data.fraction=0.1", "stage2.train=projector,llm"])
        >>> config.seed, config.data.fraction, config.stage2.train
        (1, 0.1, ['projector', 'llm'])
    """
    config = copy.deepcopy(default)
    pairs = [_split(argument) for argument in argv]
    layers = [_read_file(value) for key, value in pairs if key == "config"]
    layers.append([setting for key, value in pairs if key != "config" for setting in _argument(key, value)])
    for layer in layers:
        choices = [setting for setting in layer if setting.group and hasattr(config, setting.group)]
        for setting in choices:
            choose(config, setting.group, str(setting.value))
        for setting in layer:
            if setting not in choices:
                assign(config, setting)
    check(config)
    return config


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value for one dotted key.

    Attributes:
        key: where it goes.
        value: text or a list of texts.
        source: how messages cite it.
    """

    key: str
    value: Any
    source: str

    @property
    def group(self) -> str:
        """The group that this setting makes a choice for, or ""."""
        group = self.key.removesuffix(".name")
        return group if group in CHOICES else ""


class _TextLoader(yaml.BaseLoader):
    """YAML whose scalars stay text; a key that occurs twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} occurs twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def _split(argument: str) -> tuple[str, str]:
    key, equals, value = argument.partition("=")
    if not equals or not key.strip("-"):
        raise ConfigError(f"{argument!r}: expected key=value, e.g. seed=1 or alignment.k=5; "
                          "`medgraph config FILE.py` lists every key")  # fmt: skip
    return key.lstrip("-"), value


def _argument(key: str, text: str) -> Iterator[Setting]:
    value = _load(text, f"{key}={text}") if text.startswith(("[", "{")) else text
    return flatten(key, value, "")


def _read_file(file: str) -> list[Setting]:
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"config={file}: no such file")
    try:
        loaded = _load(path.read_text(encoding="utf-8"), f"config={file}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config={file}: not readable as text: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"config={file}: expected keys and values at the top level, e.g. `seed: 1`")
    return list(flatten("", loaded, f"{file}: "))


def _load(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _TextLoader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}{place}: not valid YAML: {problem or error}") from error


def flatten(key: str, value: Any, prefix: str) -> Iterator[Setting]:
    """Settings of nested mappings; lists are values.

    Args:
        key: dotted key of ``value``; "": the top.
        value: text, list or mapping.
        prefix: what messages cite in front of the key.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from flatten(f"{key}.{name}" if key else str(name), inner, prefix)
    else:
        shown = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
        yield Setting(key, value, f"{prefix}{key}={shown}")


def assign(config: Any, setting: Setting) -> None:
    """Set one value of a configuration, converted to the type of its field.

    Raises:
        ConfigError: for an unknown key, or a value that cannot be converted.
    """
    owner: Any = config
    *sections, name = setting.key.split(".")
    for section in sections:
        owner = getattr(owner, section, None) if _has(owner, section) else None
    if not _has(owner, name):
        raise ConfigError(f"{setting.source}: {_explain_unknown(config, setting.key)}")
    if dataclasses.is_dataclass(getattr(owner, name)):
        first = dataclasses.fields(getattr(owner, name))[0].name
        raise ConfigError(f"{setting.source}: {setting.key} is a group; set its fields, e.g. {setting.key}.{first}=…")
    setattr(owner, name, _convert(owner, name, setting))


def _has(owner: Any, name: str) -> bool:
    return dataclasses.is_dataclass(owner) and name in {field.name for field in dataclasses.fields(owner)}


def _convert(owner: Any, name: str, setting: Setting) -> Any:
    """Convert text to the type of the field; OmegaConf knows the types."""
    hint = typing.get_type_hints(type(owner))[name]
    alternatives = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    value = setting.value
    if isinstance(value, str):
        value = str(Path(value).expanduser()) if value.startswith("~/") else value
        choices = [choice for alternative in alternatives for choice in get_args(alternative)]
        if types.NoneType in alternatives and value.lower() in ("null", "none", "~") and value not in choices:
            return None
        if any(get_origin(alternative) is list for alternative in alternatives):
            value = [part.strip() for part in value.split(",")] if value else []
        elif int in alternatives and str in alternatives and value.lstrip("-").isdecimal():
            value = int(value)
    node = OmegaConf.structured(dataclasses.make_dataclass("OneField", [("value", hint)]))
    try:
        OmegaConf.update(node, "value", value)
        converted: Any = OmegaConf.to_object(node)
    except OmegaConfBaseException as error:
        expected = " or ".join(map(_describe, alternatives))
        reason = str(error).splitlines()[0] if "${" in str(value) else f"expected {expected}"
        raise ConfigError(f"{setting.source}: {reason}") from error
    return converted.value


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) is list:
        return f"a list of {_describe(get_args(hint)[0]).split()[-1]}s, e.g. [a,b]"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text", types.NoneType: "null"}
    return names.get(hint, str(hint))


def _explain_unknown(config: Any, key: str) -> str:
    """Say what is wrong with a key that the configuration does not have."""
    owners = _keys_by_choice(config)
    if key in owners:
        first, *others = owners[key]
        also = "".join(f", {name.partition('=')[2]}" for name in others)
        return f"this key belongs to {first}{also}; add {'one of them' if others else first}"
    known = list(_leaves(dataclasses.asdict(config)))
    if same := [other for other in known if other.endswith(f".{key}")]:
        return f"unknown key; did you mean {' or '.join(same)}?"
    hint = suggest(key, [*known, *owners])
    if hint.startswith("; known"):
        group = key.partition(".")[0]
        hint = suggest("", [other for other in known if other.startswith(f"{group}.")] or list(vars(config)))
    return f"unknown key{hint}"


def _keys_by_choice(config: Any) -> dict[str, list[str]]:
    """Keys that the configuration would have after another choice, with the choices that have them."""
    from medgraph.alignment.options import head_options
    from medgraph.alignment.registry import HEADS
    from medgraph.augment.registry import MIXES

    current = set(_leaves(dataclasses.asdict(config)))
    kinds: list[tuple[str, str, type[Any]]] = [("data", name, cls) for name, cls in DATA.items()]
    kinds += [("alignment", name, head_options(name)) for name in HEADS]
    kinds += [("mix", name, cls) for name, cls in MIXES.items()]
    keys: dict[str, list[str]] = {}
    for group, name, cls in kinds:
        for field in dataclasses.fields(cls) if hasattr(config, group) else ():
            if f"{group}.{field.name}" not in current:
                keys.setdefault(f"{group}.{field.name}", []).append(f"{group}={name}")
    return keys


def _leaves(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
