"""The processes of a run: started together, computing together, one of them writing.

A rank is one process with one device. What every rank needs (data, model, order, noise) is computed by each from the
same seeds; what is written, printed or decided from files comes from rank 0.

Letters: W ranks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from medgraph.config import ConfigError, TrainerConfig
from medgraph.console import FAILED
from medgraph.data.loading import rank_and_ranks
from medgraph.training.preflight import CheckedDDPStrategy

T = TypeVar("T")


def count_devices(options: TrainerConfig) -> int:
    """Processes on this machine: what is configured, for ``auto`` those that torchrun started, or one per GPU.

    Args:
        options: of the trainer.
    """
    if options.devices != "auto":
        return int(options.devices)
    started = os.environ.get("LOCAL_WORLD_SIZE")
    if started is not None:
        return int(started)
    return torch.cuda.device_count() if uses_gpu(options) else 1


def uses_gpu(options: TrainerConfig) -> bool:
    """Whether a run computes on CUDA: if it is there, and the configuration does not ask for something else."""
    return options.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def device_of(options: TrainerConfig) -> torch.device:
    """What the models of this process are on: its current CUDA device if `uses_gpu`, else the CPU."""
    return torch.device("cuda" if uses_gpu(options) else "cpu")


def start(options: TrainerConfig) -> None:
    """Start the other processes, which run the same command up to here, or join those that torchrun or SLURM started.

    Args:
        options: of the trainer; ``devices`` is a number.

    Raises:
        ConfigError: for a device or a precision that this machine does not have, or if the processes that were started
            are not those that are configured.
        RanksMissingError: if not all of them answer.
    """
    _check_device(options)
    ranks = int(options.devices) * options.num_nodes
    if dist.is_initialized() and dist.get_world_size() != ranks:
        raise ConfigError(f"trainer.devices={options.devices} trainer.num_nodes={options.num_nodes}: this program runs "
                          f"on {dist.get_world_size()} devices; start another one")  # fmt: skip
    alone = ranks == 1 and options.strategy in ("auto", "ddp")
    several = dist.is_torchelastic_launched() or (SLURMEnvironment.detect() and os.environ["SLURM_NTASKS"] != "1")
    if dist.is_initialized() or (alone and not several):
        return
    try:
        Fabric(accelerator=options.accelerator, devices=options.devices, num_nodes=options.num_nodes,
               strategy=CheckedDDPStrategy(options.preflight_seconds)).launch()  # fmt: skip
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error


def _check_device(options: TrainerConfig) -> None:
    if options.accelerator in ("gpu", "cuda"):
        there = torch.cuda.device_count()
        if there < int(options.devices):
            raise ConfigError(f"trainer.accelerator={options.accelerator} trainer.devices={options.devices}: torch "
                              f"sees {there} GPUs here; lower trainer.devices, or use trainer.accelerator=auto "
                              "(medgraph doctor says what is wrong with a GPU that should be there)")  # fmt: skip
    has_gpu = options.accelerator != "auto" or torch.accelerator.is_available()
    if options.precision == "16-mixed" and (options.accelerator == "cpu" or not has_gpu):
        raise ConfigError("trainer.precision=16-mixed: float16 needs a GPU; use trainer.precision=auto")


def is_main() -> bool:
    """Whether this process is rank 0, the one that writes."""
    return rank_and_ranks()[0] == 0


def share(value: T) -> T:
    """What rank 0 has, on all ranks."""
    if rank_and_ranks()[1] == 1:
        return value
    values: list[Any] = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def gather(value: T) -> list[T]:
    """The values of all ranks, by rank, on all ranks."""
    ranks = rank_and_ranks()[1]
    values: list[Any] = [value] * ranks
    if ranks > 1:
        dist.all_gather_object(values, value)
    return values


@contextmanager
def together() -> Iterator[None]:
    """End all ranks where one fails; the first that does tells why, the others leave without a word.

    Every rank must come through the block, and inside it none may wait for another.

    Raises:
        SystemExit: on the other ranks.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = gather(failure is not None)
    if failure is not None and failed.index(True) == rank_and_ranks()[0]:
        raise failure
    if any(failed):
        _leave()


@contextmanager
def told_once() -> Iterator[None]:
    """Let rank 0 alone tell of an error that all ranks have found together.

    Raises:
        SystemExit: on the other ranks.
    """
    try:
        yield
    except FloatingPointError:
        if is_main():
            raise
        _leave()


def _leave() -> NoReturn:
    """End without a word; above rank 0 with code 0, so that no launcher takes this rank for the cause."""
    raise SystemExit(FAILED if is_main() else 0)


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of a tensor over the ranks.

    Args:
        values: any shape, float, without gradient.
    """
    ranks = rank_and_ranks()[1]
    return sum_over_ranks(values) / ranks if ranks > 1 else values


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over the ranks.

    Args:
        values: any shape, without gradient.
    """
    if rank_and_ranks()[1] == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def mean_weights(counts: Tensor) -> Tensor:
    r"""Turn means over what a rank has into shares of the mean over what all ranks have.

    With n_r things on rank r, :math:`\frac1W \sum_r w_r \bar x_r = \frac{\sum_r n_r \bar x_r}{\sum_r n_r}` for

    .. math:: w_r = \frac{W n_r}{\sum_s n_s}

    so a loss that is a mean over tokens, times this, has after the averaging of gradients over ranks the gradient of
    the mean over the tokens of all ranks.

    Args:
        counts: any shape, how many this rank has.

    Returns:
        w_r, float; ones in a single process.
    """
    return counts * rank_and_ranks()[1] / sum_over_ranks(counts)
