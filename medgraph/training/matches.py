"""Which images a head matches to which texts: kept for the report and shown in TensorBoard.

Letters: N nodes of the batch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from medgraph.alignment.head import AlignmentInput
from medgraph.alignment.losses import same_content
from medgraph.data.collate import content_id
from medgraph.data.records import Corpus
from medgraph.files import read_json, write_text

SHOWN = 64
"""Samples of the batch that are kept: more could not be told apart in a picture."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches of the first samples of a batch.

    Attributes:
        table: (N, N) float in [0, 1], how much image i is matched to the text of sample j.
        right: (N, N) bool, pairs of the same sample, the same image or the same text.
        modality: (N,) int64 codes, or None where the samples have no metadata.
    """

    table: Tensor
    right: Tensor
    modality: Tensor | None

    @classmethod
    def of(cls, nodes: AlignmentInput, table: Tensor) -> Matches:
        """Take the samples of a batch out of the matches of the batch and the nodes remembered with it."""
        shown = slice(min(SHOWN, len(nodes.image.pooled)))
        table = table[shown, shown]
        ids = [None if graph.ids is None else graph.ids[shown] for graph in nodes.graphs().values()]
        modality = nodes.entities.get("modality")
        right = same_content(len(table), *ids, device=nodes.image.pooled.device)
        return cls(table, right, None if modality is None else modality[shown])


class MatchWriter(L.Callback):
    """Writes the matches of a stage's first and last batch, and draws them in TensorBoard when the stage ends.

    Args:
        file: the ``matches.json`` of the run: stage → ``first`` and ``last`` → step, table, right, modality.
        stage: name of the stage.
        corpus: where the names of the modalities are.
    """

    def __init__(self, file: Path, stage: str, corpus: Corpus) -> None:
        self.file, self.stage = file, stage
        modalities = {record.triplet.modality for records in corpus.splits.values() for record in records}
        self.names = {content_id(modality): modality for modality in modalities if modality}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first batch."""
        if batch_idx == 0 and trainer.global_step <= 1:
            self._write(trainer, pl_module, "first")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the last batch, and draw both for TensorBoard."""
        self._write(trainer, pl_module, "last")
        if not self.file.exists():
            return
        from lightning.pytorch.loggers import TensorBoardLogger

        from medgraph.report.matches import draw_matches, read_matches

        for logger in trainer.loggers:
            tables = read_matches(self.file).get(self.stage)
            if isinstance(logger, TensorBoardLogger) and tables and trainer.is_global_zero:
                figure = draw_matches(tables, self.stage, line="lightgrey")
                figure.set_facecolor("white")
                logger.experiment.add_figure("train/align/matches", figure, trainer.global_step)

    def _write(self, trainer: L.Trainer, module: Any, which: str) -> None:
        matches: Matches | None = module.last_matches
        if matches is None or not trainer.is_global_zero:
            return
        known = read_json(self.file)
        known.setdefault(self.stage, {})[which] = {
            "step": trainer.global_step,
            "table": [[round(value, 4) for value in row] for row in matches.table.tolist()],
            "right": matches.right.int().tolist(),
            "modality": [] if matches.modality is None else [self.names.get(c, "") for c in matches.modality.tolist()],
        }
        write_text(self.file, json.dumps(known))
