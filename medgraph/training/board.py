"""TensorBoard: charts in groups, answers under their images, and hyper-parameters beside results.

``custom scalars`` shows the charts of a training, ``images`` and ``text`` what it answers at every validation, and
``hparams`` a row a run for ``tensorboard --logdir runs``.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from medgraph.data.collate import QuestionBatch
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.plain import flat
from medgraph.evaluation.scoring import strict_score

CHARTS = {
    "Loss": {
        "total and parts": r"train/(?!lr$|grad_norm$|\w+_per_sec$)[^/]+$",
        "terms of the alignment loss": (
            r"train/align/(?!match_accuracy$|shuffled_accuracy$|unmatched$|cos_|solver_)[^/]+$"
        ),
    },
    "Matching": {
        "share of right matches": r"train/align/(match_accuracy|shuffled_accuracy|unmatched)$",
        "cosine of right pairs and of wrong ones": r"train/align/cos_(diag|off)$",
        "gap of the solver": r"train/align/solver_gap$",
    },
    "Validation": {
        "accuracy": r"val/(\w+/)*(accuracy|knn|linear)$",
        "zero-shot accuracy": r"val/zero_shot_\w+$",
        "recall in retrieval": r"val/\w+_to_\w+_\d+$",
        "effective rank of the features": r"val/effective_rank$",
        "spread of the features": r"val/feature_sd$",
    },
    "Optimiser": {
        "learning rate": r"train/lr$",
        "gradient norm": r"train/grad_norm$",
        "gradient norm of the alignment loss, by view": r"train/align/grad_norm/",
    },
    "Speed": {
        "images a second": r"train/images_per_sec$",
        "tokens a second": r"train/tokens_per_sec$",
        "seconds a step in the matching solver": r"train/align/solver_seconds$",
    },
}
"""Regular expressions of tags by group and chart; what has one scale stands in one chart."""

TUNED = (
    "alignment",
    "data",
    "model",
    "seed",
    "stage1",
    "stage2",
    "stage3",
    "method",
    "tuning",
    "mix",
    "steps",
    "batch_size",
    "lr",
)
"""Parts of a configuration that are shown as hyper-parameters."""


def layout(tags: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """The charts that show at least one of the tags, as ``SummaryWriter.add_custom_scalars`` takes them.

    Example:
        >>> layout(["train/lr", "val/accuracy"])["Optimiser"]
        {'learning rate': ['Multiline', ['train/lr$']]}
    """
    tags = list(tags)
    groups = {
        group: {
            title: ["Multiline", [tag]] for title, tag in charts.items() if any(re.match(tag, name) for name in tags)
        }
        for group, charts in CHARTS.items()
    }
    return {group: charts for group, charts in groups.items() if charts}


class Board(TensorBoardLogger):
    """Writes scalars, and the layout of their charts whenever one more of them is logged.

    Args:
        folder: ``tensorboard`` below the folder of a run.
        stage: name of the stage, under which TensorBoard lists it.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        super().__init__(str(folder), name="", version=stage)
        self._tags: set[str] = set()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars; the epoch is none of interest."""
        shown = {name: value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(shown, step)
        if not shown.keys() <= self._tags:
            self._tags |= shown.keys()
            self.experiment.add_custom_scalars(layout(sorted(self._tags)))


class Samples(L.Callback):
    """Puts the first validation questions with images, truths and answers into TensorBoard.

    Args:
        count: how many questions.
    """

    def __init__(self, count: int = 8) -> None:
        self.count = count

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: QuestionBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw images with questions and answers, and write these as a table that can be searched."""
        boards = [logger for logger in trainer.loggers if isinstance(logger, Board)]
        if batch_idx or batch.images is None or trainer.sanity_checking or not trainer.is_global_zero or not boards:
            return
        from medgraph.report.answered import draw_answered

        shown = list(zip(batch.records, outputs["answers"], strict=True))[: self.count]
        right = [strict_score(r.answer, answer, r.answer_type, r.options) == 1 for r, answer in shown]
        images = batch.images[: self.count].permute(0, 2, 3, 1).cpu().numpy()
        texts = [(record.question, record.answer, answer) for record, answer in shown]
        rows = [f"| {' | '.join(text)} | {'✓' if good else '✗'} |" for text, good in zip(texts, right, strict=True)]
        table = "\n".join(["| question | truth | answer | |", "|---|---|---|---|", *rows])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # models write in any language
            for board in boards:
                board.experiment.add_figure("val/answers", draw_answered(images, texts, right), trainer.global_step)
                board.experiment.add_text("val/answers", table, trainer.global_step)


def write_hyperparameters(folder: Path, config: Mapping[str, Any], figures: Mapping[str, Estimate]) -> None:
    """Write a run's row of the ``hparams`` page: settings beside results and the ends of their intervals.

    Args:
        folder: of the run; what an earlier call has written there is replaced.
        config: the whole configuration, as plain values.
        figures: results by name.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    place = folder / "tensorboard" / "result"
    shutil.rmtree(place, ignore_errors=True)
    results = {
        f"result/{name.replace(' ', '_')}/{part}": getattr(figure, part)
        for name, figure in figures.items()
        for part in ("value", "low", "high")
    }
    settings = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flat({part: config[part] for part in TUNED if part in config}).items()
        if value is not None and value != []
    }
    with SummaryWriter(str(place)) as writer:
        for summary in hparams(settings, results):
            writer.file_writer.add_summary(summary)
        for name, value in results.items():
            writer.add_scalar(name, value)
