"""The parts of a configuration that a name chooses: data source, model preset, alignment head, mix."""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medgraph.config.errors import ConfigError, suggest
from medgraph.config.schema import MODELS, ModelConfig
from medgraph.config.sources import DATA, DataConfig


def data_config(name: str, **options: Any) -> DataConfig:
    """Make the configuration of a data source.

    Args:
        name: a key of `DATA`.
        options: overrides of the source's defaults.

    Raises:
        ConfigError: for an unknown source or option, or a value of another type than its field.
    """
    if name not in DATA:
        raise ConfigError(f"data={name}: unknown data source{suggest(name, DATA)}")
    _refuse_unknown(options, DATA[name], f"data={name}")
    config = DATA[name](name=name, **options)
    try:
        OmegaConf.structured(config)
    except OmegaConfBaseException as error:
        raise ConfigError(f"data.{error.full_key}: {str(error).splitlines()[0]}") from error
    return config


def model_config(name: str, **options: Any) -> ModelConfig:
    """Make the configuration of a model preset.

    Args:
        name: a key of `MODELS`.
        options: overrides of the preset.

    Raises:
        ConfigError: for an unknown preset or option.
    """
    if name not in MODELS:
        raise ConfigError(f"model={name}: unknown preset{suggest(name, MODELS)}; for any other Hugging Face model "
                          "set model.vision and model.llm to names or local paths")  # fmt: skip
    _refuse_unknown(options, ModelConfig, f"model={name}")
    return dataclasses.replace(copy.deepcopy(MODELS[name]), **options)


def head_config(name: str, **options: Any) -> Any:
    """Make the configuration of an alignment head: a dataclass of `name` and the head's constructor arguments.

    Args:
        name: a registered head (`exgra`, `infonce`, `none` …) or an import path such as ``my_pkg.my_file.MyHead``,
            looked up from the current folder as well.
        options: overrides of the constructor's defaults.

    Raises:
        ConfigError: for an unknown head or option, or a constructor that breaks the convention of
            `medgraph.alignment.head.AlignmentHead`.
    """
    from medgraph.alignment.options import head_options  # imports torch, so only when a head is chosen

    if "." in name and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        cls = head_options(name)
    except ValueError as error:
        raise ConfigError(f"alignment={name}: {error}") from error
    _refuse_unknown(options, cls, f"alignment={name}")
    return cls(**options)


def mix_config(name: str, **options: Any) -> Any:
    """Make the configuration of a mix, which is the mix itself.

    Args:
        name: a key of `medgraph.augment.registry.MIXES`.
        options: overrides of its defaults.

    Raises:
        ConfigError: for an unknown mix or option.
    """
    from medgraph.augment.registry import MIXES  # imports torch, so only when a mix is chosen

    if name not in MIXES:
        raise ConfigError(f"mix={name}: no such mix{suggest(name, MIXES)}")
    _refuse_unknown(options, MIXES[name], f"mix={name}")
    return MIXES[name](name=name, **options)


def choose(config: Any, group: str, name: str) -> None:
    """Replace a group by the named choice with its own defaults; choosing what is there already changes nothing.

    What all data sources have in common (`fraction`, `extended`, `seed`) describes the study, not the source, and is
    carried over.

    Raises:
        ConfigError: for an unknown name.
    """
    old = getattr(config, group)
    if old.name == name:
        return
    shared = {f.name: getattr(old, f.name) for f in dataclasses.fields(DataConfig)} if group == "data" else {}
    shared.pop("name", None)
    setattr(config, group, CHOICES[group](name, **shared))


CHOICES: dict[str, Callable[..., Any]] = {
    "data": data_config,
    "model": model_config,
    "alignment": head_config,
    "mix": mix_config,
}
"""Groups whose dataclass or defaults depend on a name."""


def _refuse_unknown(options: dict[str, Any], cls: type[Any], source: str) -> None:
    known = [f.name for f in dataclasses.fields(cls) if f.name != "name"]
    for option in options:
        if option not in known:
            hint = suggest(option, known) if known else "; it has none"
            raise ConfigError(f"{source} has no option {option!r}{hint}")
