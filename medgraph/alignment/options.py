"""The options of an alignment head: its constructor arguments as a dataclass, and back to a head."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medgraph.alignment.registry import head_class

if TYPE_CHECKING:
    from medgraph.alignment.head import AlignmentHead


def head_options(name: str) -> type[Any]:
    """Turn the constructor arguments of a head into a dataclass.

    Args:
        name: a registered name or an import path.

    Returns:
        A dataclass type: field ``name`` first (default: the given name), then the arguments with their defaults.

    Raises:
        ValueError: for an unknown head, or an argument without annotation, without default, or of a type that a
            configuration file cannot hold.

    Example:
        >>> [field.name for field in dataclasses.fields(head_options("none"))]
        ['name']
    """
    return _options_of(head_class(name), name)  # type: ignore[arg-type]  # typeshed: classes are not Hashable


def make_head(options: Any) -> AlignmentHead:
    """Construct the head that an instance of `head_options` describes.

    Raises:
        ValueError: if the head refuses an option.
    """
    arguments = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return head_class(arguments.pop("name"))(**arguments)


@functools.cache
def _options_of(head: type[AlignmentHead], name: str) -> type[Any]:
    from torch import nn

    hints = typing.get_type_hints(head.__init__)
    fields: list[tuple[str, Any, Any]] = [("name", str, dataclasses.field(default=name))]
    has_options = head.__init__ is not nn.Module.__init__
    for argument in inspect.signature(head).parameters.values() if has_options else ():
        if argument.name not in hints or argument.default is argument.empty or argument.name == "name":
            raise ValueError(f"{head.__name__}.__init__: argument {argument} needs an annotation and a default, and "
                             "may not be called `name`")  # fmt: skip
        fields.append((argument.name, hints[argument.name], _field(argument.default)))
    made = dataclasses.make_dataclass(f"{head.__name__}Options", fields)
    made.__doc__ = head.__doc__
    try:
        OmegaConf.structured(made)
    except OmegaConfBaseException as error:
        raise ValueError(f"{head.__name__}.__init__: {str(error).splitlines()[0]}; options are numbers, texts, "
                         "booleans, Literals, or lists of these") from error  # fmt: skip
    return made


def _field(default: Any) -> Any:
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy)
    return dataclasses.field(default=default)
