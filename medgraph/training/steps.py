"""What every optimiser step begins with, whatever is trained."""

from __future__ import annotations

import lightning as L
import numpy as np
import torch

from medgraph.data.datamodule import trained_batches


def start_batch(module: L.LightningModule, seed: int, *drawn: int) -> None:
    """Let dropout depend on a seed, the batch and further numbers alone, and log under the true step.

    Args:
        module: in training.
        seed: of the run.
        drawn: what else tells draws apart, such as the rank.
    """
    entropy = np.random.SeedSequence((seed, trained_batches(module.trainer), *drawn))
    # torch.manual_seed formats a stack for each kind of device that is not there, a millisecond in all
    source = torch.default_generator if module.device.type == "cpu" else torch
    source.manual_seed(int(entropy.generate_state(1)[0]))
    # Lightning's own count is one too high after resuming behind a validation
    module.trainer.fit_loop.epoch_loop._batches_that_stepped = module.global_step
