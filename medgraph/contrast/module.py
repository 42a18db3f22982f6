"""The LightningModule of a dual-encoder pre-training: both encoders under one alignment head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medgraph.alignment.head import AlignmentHead
from medgraph.contrast.data import PairBatch
from medgraph.contrast.encoder import batch_nodes
from medgraph.contrast.options import ContrastConfig
from medgraph.prompting.encoder import DualEncoder
from medgraph.training.alone import AloneModule


class ContrastModule(AloneModule):
    """Training of a dual encoder on pairs.

    Checkpoints hold everything that training goes on from, the noise of the head included. Logged: ``train/loss``,
    ``train/align/<term of the head>``, ``train/lr``.

    Args:
        encoder: trained in place.
        head: set up for it.
        config: the pre-training.
    """

    def __init__(self, encoder: DualEncoder, head: AlignmentHead, config: ContrastConfig) -> None:
        super().__init__(config)
        self.encoder, self.head = encoder.train(), head.train()
        self.noise = torch.Generator().manual_seed(config.seed)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        output = self.head(batch_nodes(self.encoder, batch, self.noise))
        self.log_loss(batch, output.loss, {f"align/{name}": value for name, value in output.terms.items()})
        return output.loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the noise."""
        checkpoint["noise"] = self.noise.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the noise."""
        self.noise.set_state(checkpoint["noise"])
