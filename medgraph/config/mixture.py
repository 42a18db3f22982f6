"""The sources of a mixture: from the mappings of `MixtureConfig.sources` to checked configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medgraph.config.choices import data_config
from medgraph.config.errors import ConfigError, suggest
from medgraph.config.parsing import assign, flatten
from medgraph.config.sources import SPLITS, DataConfig, FilesConfig, MixtureConfig
from medgraph.config.validation import check_root


@dataclass(frozen=True, slots=True)
class MixturePart:
    """One source of a mixture.

    Attributes:
        data: its configuration; seed and kind of extended answers are the mixture's unless it has its own.
        count: training images to take; None takes all.
        splits: the splits that it contributes to.
    """

    data: DataConfig
    count: int | None
    splits: tuple[str, ...]


def mixture_parts(config: MixtureConfig) -> list[MixturePart]:
    """Check and convert the sources of a mixture.

    Raises:
        ConfigError: naming the source, the key and what is accepted.

    Example:
        >>> part, = mixture_parts(MixtureConfig(sources=[{"name": "phantom", "num_train": "9", "count": 4}]))
        >>> part.data.num_train, part.count, part.splits
        (9, 4, ('train', 'task', 'val', 'test', 'ood'))
    """
    if not config.sources:
        raise ConfigError("data.sources is empty; add data.sources=[{name: vqa_rad, root: PATH, count: 200}, …]")
    parts = [_part(config, source, f"data.sources[{i}]") for i, source in enumerate(config.sources)]
    if not any("train" in part.splits for part in parts):
        raise ConfigError("data.sources: none contributes to train; add train to the splits of one")
    return parts


def _part(config: MixtureConfig, source: Mapping[str, object], where: str) -> MixturePart:
    options = dict(source)
    count, splits = options.pop("count", None), options.pop("splits", SPLITS)
    data = nested_source(options, where, config)
    if count is not None and not (str(count).isdecimal() and int(str(count)) > 0):
        raise ConfigError(f"{where}.count={count}: expected at least 1")
    wanted = splits.split(",") if isinstance(splits, str) else [str(split) for split in splits]  # type: ignore[attr-defined]
    for split in wanted:
        if split not in SPLITS:
            raise ConfigError(f"{where}.splits={split}: unknown split{suggest(split, SPLITS)}")
    return MixturePart(data, None if count is None else int(str(count)), tuple(wanted))


def nested_source(source: Mapping[str, object], where: str, outer: DataConfig) -> DataConfig:
    """The configuration of a source inside another one.

    Args:
        source: its ``name`` and options.
        where: key of the source, for messages.
        outer: the other one; its seed and kind of extended answers are the default.

    Raises:
        ConfigError: naming the source, the key and what is accepted.
    """
    options = dict(source)
    name = str(options.pop("name", ""))
    if name in ("", "mixture", "subsets") or {"fraction", "augment", "cache"} & options.keys():
        raise ConfigError(
            f"{where}={dict(source)}: expected the name of a plain source, its options, and no fraction, augment or "
            f"cache: data.fraction, data.augment and data.cache are for all of data={outer.name}"
        )
    data = data_config(name, seed=outer.seed, extended=outer.extended)
    for setting in flatten("", options, f"{where}: "):
        assign(data, setting)
    if isinstance(data, FilesConfig):
        check_root(data, f"{where}.root")
    return data
