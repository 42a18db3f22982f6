"""The LightningModule of a dual-encoder pre-training: both encoders under one alignment head."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from medgraph.alignment.head import AlignmentHead
from medgraph.contrast.data import PairBatch
from medgraph.contrast.encoder import batch_nodes
from medgraph.contrast.options import ContrastConfig
from medgraph.prompting.encoder import DualEncoder
from medgraph.training.optimizer import cosine_adamw
from medgraph.training.steps import start_batch


class ContrastModule(L.LightningModule):
    """Training of a dual encoder on pairs.

    Checkpoints hold everything that training goes on from, the noise of the head included. Logged: ``train/loss``,
    ``train/align/<term of the head>``, ``train/lr``.

    Args:
        encoder: trained in place.
        head: set up for it.
        config: the pre-training.

    Attributes:
        batch_terms: last batch and its detached losses, for `medgraph.training.spikes.SpikeGuard`.
    """

    def __init__(self, encoder: DualEncoder, head: AlignmentHead, config: ContrastConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.head = encoder.train(), head.train()
        self.noise = torch.Generator().manual_seed(config.seed)

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Let dropout depend on seed and batch alone, and log under the true step."""
        start_batch(self, self.config.seed)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        output = self.head(batch_nodes(self.encoder, batch, self.noise))
        loss = output.loss.detach()
        self.batch_terms = batch, {"loss": loss}
        values = {"train/loss": loss, "train/lr": self.optimizers().param_groups[0]["lr"]}  # type: ignore[union-attr]
        values |= {f"train/align/{name}": value for name, value in output.terms.items()}
        self.log_dict(values, batch_size=len(batch.ids))
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(batch.ids))
        return output.loss

    def configure_optimizers(self) -> Any:
        """See `medgraph.training.optimizer.cosine_adamw`."""
        config = self.config
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return cosine_adamw(trained, config.lr, config.weight_decay, config.warmup, config.steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the noise."""
        checkpoint["noise"] = self.noise.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the noise."""
        self.noise.set_state(checkpoint["noise"])
