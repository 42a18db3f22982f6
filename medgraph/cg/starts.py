"""What the runs of a plan have in common: a configuration but for data and length, and the weights they start from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.config import ConfigError, ExperimentConfig, StageConfig, SubsetsConfig, identity, parse, to_dict
from medgraph.evaluation.plain import flat
from medgraph.models.build import assets_hash
from medgraph.training.recipes import resolve


@dataclass(frozen=True, slots=True)
class Start:
    """What was known of the runs with equal overrides when they were planned.

    Attributes:
        overrides: arguments of these runs.
        config: what their configuration says of what is computed.
        weights: stands for the weights: a hash of the packaged ones, or of how a run made them.
    """

    overrides: tuple[str, ...]
    config: Mapping[str, Any]
    weights: str | None

    @classmethod
    def now(cls, overrides: Sequence[str], config: ExperimentConfig | None = None) -> Start:
        """As this version of MedGraph would run them.

        Args:
            overrides: arguments of the runs.
            config: that of `start_config`, where it is known.
        """
        config = config or start_config(overrides)
        plain = json.loads(json.dumps(identity(to_dict(config))))
        return cls(tuple(overrides), plain, _weights(config))

    def changes(self, now: Start) -> list[str]:
        """What has another value now, or is gone. Options that were not there yet have defaults that change nothing."""
        before, after = flat(self.config), flat(now.config)
        found = [
            f"{key} was {value}, " + (f"is {after[key]}" if key in after else "is no option any more")
            for key, value in before.items()
            if key not in after or after[key] != value
        ]
        return found + [f"weights were {self.weights}, are {now.weights}"] * (self.weights != now.weights)


def base_config() -> ExperimentConfig:
    """What every run of the laboratory starts from: language modelling in two stages, the target asked at the end."""
    config = ExperimentConfig(name="cg", data=SubsetsConfig(), stage3=StageConfig(steps=0))
    config.eval.splits, config.eval.controls = ["ood"], False
    return config


def start_config(overrides: Sequence[str]) -> ExperimentConfig:
    """The configuration of runs, but for their data and length."""
    config = base_config()
    config.data = SubsetsConfig(sources=[{"name": "phantom"}], target="any")
    return resolve(parse(config, overrides))


def _weights(config: ExperimentConfig) -> str | None:
    if config.start is None:
        return assets_hash(config.model)
    digest = hashlib.sha256()
    for name in ("config.yaml", "data.json", "metrics.jsonl"):
        file = Path(config.start) / name
        if not file.is_file():
            raise ConfigError(f"start={config.start}: has no {name}; give the folder of a finished run")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
