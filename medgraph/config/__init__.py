"""Structured configuration: dataclass defaults, overrides from YAML and the command line, one clear error a mistake.

An experiment file builds an `ExperimentConfig`; `parse` lays ``config=file.yaml`` and then ``key=value`` arguments over
it. ``data=NAME``, ``model=NAME`` and ``alignment=NAME`` choose another dataclass or preset with its own defaults. This
package imports neither torch nor Lightning until an alignment head is chosen.
"""

from __future__ import annotations

from medgraph.config.choices import data_config, head_config, mix_config, model_config
from medgraph.config.errors import ConfigError
from medgraph.config.identity import config_hash, identity, run_dir, to_dict, to_yaml
from medgraph.config.parsing import parse
from medgraph.config.schema import (
    MODELS,
    STAGES,
    EvalConfig,
    ExperimentConfig,
    LoraOptions,
    ModelConfig,
    PromptOptions,
    RunConfig,
    StageConfig,
    TrainerConfig,
)
from medgraph.config.sources import (
    DATA,
    Columns,
    ConversationsConfig,
    DataConfig,
    FilesConfig,
    FolderConfig,
    HFConfig,
    ManifestConfig,
    MasksConfig,
    MedMATConfig,
    MixtureConfig,
    OmniMedVQAConfig,
    PathVQAConfig,
    PhantomConfig,
    PMCVQAConfig,
    QuestionsConfig,
    SlakeConfig,
    SubsetsConfig,
    VQARADConfig,
)
from medgraph.config.validation import validate

__all__ = [
    "DATA",
    "MODELS",
    "STAGES",
    "Columns",
    "ConfigError",
    "ConversationsConfig",
    "DataConfig",
    "EvalConfig",
    "ExperimentConfig",
    "FilesConfig",
    "FolderConfig",
    "HFConfig",
    "LoraOptions",
    "ManifestConfig",
    "MasksConfig",
    "MedMATConfig",
    "MixtureConfig",
    "ModelConfig",
    "OmniMedVQAConfig",
    "PMCVQAConfig",
    "PathVQAConfig",
    "PhantomConfig",
    "PromptOptions",
    "QuestionsConfig",
    "RunConfig",
    "SlakeConfig",
    "StageConfig",
    "SubsetsConfig",
    "TrainerConfig",
    "VQARADConfig",
    "config_hash",
    "data_config",
    "head_config",
    "identity",
    "mix_config",
    "model_config",
    "parse",
    "run_dir",
    "to_dict",
    "to_yaml",
    "validate",
]
