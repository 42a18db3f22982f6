"""The LightningModule of one stage: language modelling, plus alpha times an alignment loss where there is a head."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from medgraph.alignment.clock import time_solves
from medgraph.alignment.diagnostics import watch_gradients
from medgraph.alignment.gather import global_batch
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput, NodeSet
from medgraph.alignment.memory import NodeMemory
from medgraph.config import StageConfig
from medgraph.data.collate import ConversationBatch, QuestionBatch
from medgraph.evaluation.scoring import strict_score
from medgraph.models.medvlm import MedVLM
from medgraph.training.matches import Matches


class StageModule(L.LightningModule):
    """One training stage of a `MedVLM`.

    Checkpoints hold what is trained, the alignment head, and every source of randomness; frozen parts come from the
    base model. Logged: ``train/loss``, ``train/lm``, ``train/lm_extended``, ``train/align``, ``train/align/<term>`` and
    ``train/align/grad_norm/<view>``, ``train/lr``, ``val/accuracy`` (strict score of generated short answers, in
    [0, 1]).

    On several ranks the alignment loss is that of the global batch (:func:`medgraph.alignment.gather.global_batch`).

    Args:
        vlm: the model; the stage decides which of its parts train.
        head: alignment head, already set up for the model's width; None trains without one.
        stage: resolved options.
        steps: optimiser steps of the whole stage.
        seed: seed of the noise inside the head, the same on all ranks.
        max_new_tokens: longest answer in validation.

    Attributes:
        last_matches: what the head matched in the last batch, None where it does not match.
    """

    def __init__(
        self,
        vlm: MedVLM,
        head: AlignmentHead | None,
        stage: StageConfig,
        steps: int,
        seed: int,
        max_new_tokens: int,
    ) -> None:
        super().__init__()
        self.vlm, self.stage, self.steps, self.max_new_tokens = vlm, stage, steps, max_new_tokens
        self.head = head if head is not None and stage.alpha > 0 else None
        self.noise = torch.Generator().manual_seed(seed)
        self.memory = NodeMemory(stage.queue)
        self.node_gradients: dict[str, Tensor] = {}
        self.last_matches: Matches | None = None
        self.val_accuracy = MeanMetric()
        self.strict_loading = False
        assert stage.train is not None
        vlm.set_trainable(stage.train)

    def on_train_batch_start(self, batch: ConversationBatch, batch_idx: int) -> None:
        """Log under the true step: Lightning's own count is one too high after an interrupt inside a batch."""
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.global_step
        self.before_batch = self.changing_state()

    def changing_state(self) -> dict[str, Any]:
        """Everything besides the weights that a batch changes."""
        random = {"noise": self.noise.get_state(), "torch": torch.get_rng_state()}
        buffers: dict[str, Tensor] = {}
        if self.head is not None:
            stored = self.head.state_dict(prefix="head.")
            buffers = {name: b.clone() for name, b in self.head.named_buffers(prefix="head") if name in stored}
        return {"random": random, "memory": self.memory.state_dict(), "buffers": buffers}

    def training_step(self, batch: ConversationBatch, batch_idx: int) -> Tensor:
        """Loss of one batch.

        Raises:
            FloatingPointError: if a term is not finite; names the term and the records of the batch.
        """
        image_tokens = self.vlm.encode_images(batch.images)
        supervised = (
            {"lm": batch.lm} if batch.lm_extended is None else {"lm": batch.lm, "lm_extended": batch.lm_extended}
        )
        texts = {} if self.head is None else batch.texts
        hidden = self.vlm.hidden_states(
            {name: (tokens, image_tokens) for name, tokens in supervised.items()}
            | {name: (tokens, None) for name, tokens in texts.items()}
        )
        terms = {name: self.vlm.lm_loss(hidden[name], tokens) for name, tokens in supervised.items()}
        loss = torch.stack(list(terms.values())).sum()
        if self.head is not None:
            nodes = {
                view: self.vlm.text_nodes(hidden[view], text, batch.text_ids[view]) for view, text in texts.items()
            }
            align = self.align(self.head, self.vlm.image_nodes(image_tokens, batch.image_ids), nodes, batch)
            loss = loss + self.stage.alpha * align.loss
            terms["align"] = align.loss
            terms |= {f"align/{name}": value for name, value in align.terms.items()}
        if not torch.isfinite(loss):
            bad = next((name for name, value in terms.items() if not torch.isfinite(value).all()), "loss")
            raise FloatingPointError(
                f"step {self.global_step}: train/{bad} is not finite for records {batch.ids}; lower "
                "the learning rate or use trainer.precision=32-true. The last checkpoint is kept."
            )
        values = {"loss": loss, "lr": torch.tensor(self.optimizers().param_groups[0]["lr"]), **terms}  # type: ignore[union-attr]
        self.log_dict({f"train/{name}": value.detach() for name, value in values.items()}, batch_size=len(batch.ids))
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(batch.ids))
        return loss

    def align(
        self, head: AlignmentHead, images: NodeSet, texts: dict[str, NodeSet], batch: ConversationBatch
    ) -> AlignmentOutput:
        """Alignment loss of the global batch and the remembered nodes, with the solver's time among the terms."""
        nodes = AlignmentInput(images, texts, self.noise, batch.entities)
        everyone = global_batch(nodes, head.uses_tokens)
        with time_solves() as clock:
            output = head(self.memory.extend(everyone))
        if clock.seconds:
            output.terms["solver_seconds"] = torch.tensor(clock.seconds)
        self.node_gradients = watch_gradients(nodes, output.loss)
        self.last_matches = None if output.matches is None else Matches.of(everyone, output.matches)
        return output

    def on_after_backward(self) -> None:
        """Log what the alignment loss sends to the nodes."""
        norms = {f"train/align/grad_norm/{name}": norm for name, norm in self.node_gradients.items()}
        self.log_dict(norms, batch_size=1)

    def validation_step(self, batch: QuestionBatch, batch_idx: int) -> dict[str, list[str]]:
        """Answer validation questions and score them strictly; callbacks get the answers."""
        answers = self.vlm.generate(batch, self.max_new_tokens)
        for record, answer in zip(batch.records, answers, strict=True):
            self.val_accuracy.update(strict_score(record.answer, answer, record.answer_type, record.options))
        self.log("val/accuracy", self.val_accuracy, prog_bar=True, batch_size=len(batch.records))
        return {"answers": answers}

    def configure_optimizers(self) -> Any:
        """AdamW with decay on matrices only; linear warm-up and cosine decay to zero over the stage."""
        assert self.stage.lr is not None
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.stage.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=self.stage.lr)
        warmup = max(1, round(self.stage.warmup * self.steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, self.steps - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen, keep what batches change: as it was before a batch that is cut off."""
        named = self.named_parameters(remove_duplicate=False)  # tied weights have two names
        frozen = {name for name, parameter in named if not parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        state = self.before_batch if progress.started > progress.processed else self.changing_state()
        checkpoint["state_dict"] |= state["buffers"]
        checkpoint |= {name: state[name] for name in ("random", "memory")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore remembered nodes and random states; an interrupted validation starts again from its first batch."""
        validation = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        validation["current"] = dict.fromkeys(validation["current"], 0)
        self.memory.load_state_dict(checkpoint["memory"])
        self.noise.set_state(checkpoint["random"]["noise"])
        torch.set_rng_state(checkpoint["random"]["torch"])


def trained_state(model: nn.Module, parts: set[str]) -> dict[str, Tensor]:
    """Weights of the named parts of a model, each stored once even where modules share it."""
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():  # yields shared parameters once
        if name.split(".")[0] in parts:
            state[name] = parameter.detach().cpu().contiguous()
    return state
