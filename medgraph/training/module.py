"""The LightningModule of one stage: language modelling, plus alpha times an alignment loss where there is a head."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from medgraph.alignment.clock import time_solves
from medgraph.alignment.diagnostics import watch_gradients
from medgraph.alignment.gather import global_batch
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput, NodeSet
from medgraph.alignment.memory import NodeMemory
from medgraph.config import StageConfig
from medgraph.data.collate import ConversationBatch, QuestionBatch, TokenBatch
from medgraph.data.conversation import IGNORE
from medgraph.data.loading import rank_and_ranks
from medgraph.evaluation.scoring import strict_score
from medgraph.models.medvlm import MedVLM
from medgraph.models.text_nodes import read_batch
from medgraph.training.later import Later
from medgraph.training.matches import Matches
from medgraph.training.optimizer import cosine_adamw
from medgraph.training.ranks import gather, mean_over_ranks, mean_weights
from medgraph.training.steps import start_batch
from medgraph.training.strategies import hand_back, light_copy, name_parameters, shard
from medgraph.training.weights import check_names, without_frozen


class StageModule(L.LightningModule):
    """One training stage of a `MedVLM`.

    Checkpoints hold what is trained, the alignment head, and every source of randomness; frozen parts come from the
    base model. Logged: ``train/loss``, ``train/lm``, ``train/lm_extended``, ``train/align``, ``train/align/<term>`` and
    ``train/align/grad_norm/<view>``, ``train/grad_norm`` (of everything, before clipping), ``train/lr``,
    ``val/accuracy`` (strict score of generated short answers, in [0, 1]).

    On several ranks all losses, gradients and logged values are those of one process with the joint batch: the mean
    over the supervised tokens of all ranks, and the alignment loss of all nodes
    (:func:`medgraph.alignment.gather.global_batch`). Of accumulated batches each counts the same. Dropout differs.

    Args:
        vlm: the model; the stage decides which of its parts train.
        head: alignment head, already set up for the model's width; None trains without one.
        stage: resolved options.
        steps: optimiser steps of the whole stage.
        seed: seed of dropout and of the noise inside the head, the same on all ranks.
        max_new_tokens: longest answer in validation.

    Attributes:
        last_matches: what the head matched in the last batch, None where it does not match.
        whole: model and head that were handed in, while sharded copies of them train.
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
        self.seed, self.noise = seed, torch.Generator().manual_seed(seed)
        self.memory = NodeMemory(stage.queue)
        self.node_gradients: dict[str, Tensor] = {}
        self.last_matches: Matches | None = None
        self.val_scores: dict[str, float] = {}
        self.strict_loading = False
        assert stage.train is not None
        vlm.set_trainable(stage.train)
        named = self.named_parameters(remove_duplicate=False)  # tied weights have two names
        self.frozen = {name for name, parameter in named if not parameter.requires_grad}
        self.saved = set(without_frozen(self.state_dict(), self.frozen))
        self.whole: tuple[nn.Module, nn.Module | None] | None = None

    def configure_model(self) -> None:
        """Cut a copy of the model into shards, where the strategy has shards; `on_fit_end` takes its weights back."""
        strategy = self.trainer.strategy
        if self.whole is not None or not isinstance(strategy, ModelParallelStrategy | FSDPStrategy):
            return
        self.whole = (self.vlm, self.head)
        self.vlm = light_copy(self.vlm)
        self.head = None if self.head is None else light_copy(self.head)
        if self.device_mesh is not None:
            shard(self, self.vlm, self.device_mesh["data_parallel"])

    def on_fit_end(self) -> None:
        """Give the model that was handed in the weights that were trained."""
        if self.whole is not None:
            for trained, whole in zip((self.vlm, self.head), self.whole, strict=True):
                if trained is not None and whole is not None:
                    hand_back(trained, whole, self.trainer.strategy)

    def on_train_batch_start(self, batch: ConversationBatch, batch_idx: int) -> None:
        """Let dropout depend on seed, batch and rank alone, and log under the true step."""
        start_batch(self, self.seed, rank_and_ranks()[0])

    def training_step(self, batch: ConversationBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        image_tokens = self.vlm.encode_images(batch.images)
        supervised = (
            {"lm": batch.lm} if batch.lm_extended is None else {"lm": batch.lm, "lm_extended": batch.lm_extended}
        )
        texts = {} if self.head is None else batch.texts
        hidden, nodes = read_batch(self.vlm, image_tokens, supervised, texts, batch.text_ids)
        weights = mean_weights(torch.stack([_num_supervised(tokens) for tokens in supervised.values()]))
        terms = {
            name: weight * self.vlm.lm_loss(hidden[name], tokens)
            for (name, tokens), weight in zip(supervised.items(), weights, strict=True)
        }
        loss = torch.stack(list(terms.values())).sum()
        if self.head is not None:
            align = self.align(self.head, self.vlm.image_nodes(image_tokens, batch.image_ids), nodes, batch)
            loss = loss + self.stage.alpha * align.loss
            terms["align"] = align.loss
            terms |= {f"align/{name}": value for name, value in align.terms.items()}
        means = mean_over_ranks(torch.stack([loss, *(terms[name] for name in supervised)]).detach())
        self.batch_terms = batch, {name: value.detach() for name, value in terms.items()}
        self.finite = Later(torch.isfinite(means[0]))
        values = terms | dict(zip(("loss", *supervised), means, strict=True))
        values["lr"] = torch.tensor(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.log_dict({f"train/{name}": value.detach() for name, value in values.items()}, batch_size=len(batch.ids))
        self.log("loss", means[0], prog_bar=True, logger=False, batch_size=len(batch.ids))
        return loss

    def _complaint(self, batch: ConversationBatch, terms: dict[str, Tensor]) -> str:
        """Name the first term that is not finite, and the records of the ranks where it is not; the same on all."""
        bad = next((name for name, value in terms.items() if not torch.isfinite(value).all()), None)
        found = [(name, ids) for name, ids in gather((bad, batch.ids)) if name is not None]
        name = found[0][0] if found else "loss"
        records = ", ".join(record for _, images in found for image in images for record in image)
        return (
            f"step {self.global_step}: train/{name} is not finite for records {records}; "
            "lower the learning rate or use trainer.precision=32-true. The last checkpoint is kept."
        )

    def align(
        self, head: AlignmentHead, images: NodeSet, texts: dict[str, NodeSet], batch: ConversationBatch
    ) -> AlignmentOutput:
        """Alignment loss of the global batch and the remembered nodes, with the solver's time among the terms."""
        nodes = AlignmentInput(images, texts, self.noise, batch.entities)
        everyone = global_batch(nodes, head.uses_tokens)
        with time_solves() as clock:
            output = head(self.memory.extend(everyone))
        # batches that leave a parameter out must not surprise strategies that wait for its gradient
        output.loss = output.loss + 0.0 * sum(p.sum() for p in head.parameters() if p.requires_grad)
        if clock.seconds:
            output.terms["solver_seconds"] = torch.tensor(clock.seconds)
        self.node_gradients = watch_gradients(nodes, output.loss)
        self.last_matches = None if output.matches is None else Matches.of(everyone, output.matches)
        return output

    def on_after_backward(self) -> None:
        """Log what the alignment loss sends to the nodes of all ranks, each of which is sent W times as much.

        The loss is looked at here, before it changes a weight, so that the device has backward to do meanwhile.

        Raises:
            FloatingPointError: if a term is not finite; names the term and the records of the batch.
        """
        if not self.finite.get():
            raise FloatingPointError(self._complaint(*self.batch_terms))
        if self.node_gradients:
            names = sorted(self.node_gradients)
            squares = mean_over_ranks(torch.stack([self.node_gradients[name] for name in names]).square())
            norms = (squares / rank_and_ranks()[1]).sqrt()
            self.log_dict({f"train/align/grad_norm/{n}": v for n, v in zip(names, norms, strict=True)}, batch_size=1)

    def on_validation_epoch_start(self) -> None:
        """Forget the answers of a validation that was cut off."""
        self.val_scores = {}

    def validation_step(self, batch: QuestionBatch, batch_idx: int) -> dict[str, list[str]]:
        """Answer validation questions and score them strictly; callbacks get the answers."""
        answers = self.vlm.generate(batch, self.max_new_tokens)
        for record, answer in zip(batch.records, answers, strict=True):
            self.val_scores[record.id] = strict_score(record.answer, answer, record.answer_type, record.options)
        return {"answers": answers}

    def on_validation_epoch_end(self) -> None:
        """Log the mean over all questions, each of which counts once however many ranks have answered it."""
        scores = {question: score for part in gather(self.val_scores) for question, score in part.items()}
        if scores:
            self.log("val/accuracy", sum(scores.values()) / len(scores), prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> Any:
        """See `medgraph.training.optimizer.cosine_adamw`."""
        assert self.stage.lr is not None
        if self.head is not None:
            self.head.float()  # its mathematics is, also where bf16-true has made a half of everything
        trained = [p for p in self.parameters() if p.requires_grad]
        return cosine_adamw(trained, self.stage.lr, self.stage.weight_decay, self.stage.warmup, self.steps)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Log the norm of the joint gradient and clip by it; only classic FSDP itself knows that of its shards."""
        strategy, norm = self.trainer.strategy, None
        if isinstance(strategy, FSDPStrategy) and gradient_clip_val:
            root: Any = strategy.model
            norm = root.clip_grad_norm_(gradient_clip_val)
        else:
            if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
                norm = get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
                norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if norm is not None:
            self.log("train/grad_norm", norm, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen, keep remembered nodes and the state of the noise.

        A single file fits every strategy and number of ranks. A folder of shards is read as a whole, so it has all.
        """
        if not getattr(self.trainer.strategy, "_save_distributed_checkpoint", False):
            checkpoint["state_dict"] = without_frozen(checkpoint["state_dict"], self.frozen)
            for optimizer, state in zip(self.trainer.optimizers, checkpoint["optimizer_states"], strict=True):
                name_parameters(state, optimizer, self)
        checkpoint["noise"] = self.noise.get_state()
        checkpoint["memory"] = self.memory.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore remembered nodes and the state of the noise.

        Raises:
            ConfigError: if a single file has other weights than it should, naming them.
        """
        if "state_dict" in checkpoint and not getattr(self.trainer.strategy, "_save_distributed_checkpoint", False):
            check_names("the checkpoint", checkpoint["state_dict"], self.saved)
        self.memory.load_state_dict(checkpoint["memory"])
        self.noise.set_state(checkpoint["noise"])


def _num_supervised(batch: TokenBatch) -> Tensor:
    assert batch.labels is not None
    return (batch.labels[:, 1:] != IGNORE).sum()
