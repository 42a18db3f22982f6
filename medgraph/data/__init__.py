"""Readers, records, conversations, loaders and the data modules that a Trainer takes.

`build_corpus(config)` reads what a configuration describes, `read("vqa_rad", "/data/vqa-rad")` is the short way.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraph.config import DataConfig, QuestionsConfig, data_config
from medgraph.data.records import Corpus

if TYPE_CHECKING:
    from medgraph.data.datamodule import CorpusDataModule as CorpusDataModule
    from medgraph.data.datamodule import InstructionDataModule as InstructionDataModule
    from medgraph.data.datamodule import MedMATDataModule as MedMATDataModule
    from medgraph.data.datamodule import PhantomDataModule as PhantomDataModule
    from medgraph.data.datamodule import VQADataModule as VQADataModule

BUILDERS = {
    "phantom": "phantom:build_phantom",
    "medmat": "medmat:build_medmat",
    "vqa_rad": "readers.vqa_rad:build_vqa_rad",
    "slake": "readers.slake:build_slake",
    "path_vqa": "readers.path_vqa:build_path_vqa",
    "pmc_vqa": "readers.pmc_vqa:build_pmc_vqa",
    "omni_med_vqa": "readers.omni_med_vqa:build_omni_med_vqa",
    "conversations": "readers.conversations:build_conversations",
    "folder": "readers.folder:build_folder",
    "masks": "readers.masks:build_masks",
    "manifest": "readers.manifest:build_manifest",
    "hf": "readers.manifest:build_hf",
    "mixture": "mixture:build_mixture",
    "subsets": "subsets:build_subsets",
}
"""Name of a source to the module and function that read it."""


def build_corpus(config: DataConfig) -> Corpus:
    """Read or generate the data of a configuration; images are loaded later, one by one.

    Raises:
        ValueError: for data that is missing or malformed, naming file, record and field.
    """
    module, function = BUILDERS[config.name].split(":")
    corpus: Corpus = getattr(import_module(f"{__name__}.{module}"), function)(config)
    if isinstance(config, QuestionsConfig) and config.ood_value:
        from medgraph.data.holdout import hold_out_value

        return hold_out_value(corpus, config.ood_value)
    return corpus


def read(name: str, root: Path | str, **options: Any) -> Corpus:
    """Read a source from files.

    Args:
        name: a key of `medgraph.config.DATA`.
        root: its folder or file.
        options: its other options.

    Raises:
        ConfigError: for an unknown name or option.
        DataError: for data that is missing or malformed.
    """
    return build_corpus(data_config(name, root=str(root), **options))


def __getattr__(name: str) -> Any:
    """Data modules are imported when they are asked for: they need Lightning."""
    if name.endswith("DataModule"):
        return getattr(import_module("medgraph.data.datamodule"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
