"""Before a run on several ranks: does every rank answer, and do they reach each other? If not, say so within a minute.

Without this, a missing rank or a blocked port shows as a hang of half an hour in the first exchange of data.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from lightning.fabric.strategies.ddp import DDPStrategy
from rich.console import Console
from rich.table import Table


class RanksMissingError(RuntimeError):
    """Not all ranks of a run take part; the message names those that are missing and what may be the cause."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of a run.

    Attributes:
        host: name of its machine.
        device: where it computes.
        memory: of the device or, for a CPU, of the machine, in GiB.
    """

    host: str
    device: str
    memory: float


class CheckedDDPStrategy(DDPStrategy):
    """Fabric's DDP whose ranks are checked before they become a group.

    Args:
        seconds: in which all ranks must answer.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def setup_environment(self) -> None:
        """Join the ranks; Lightning finds the group made."""
        environment = self.cluster_environment
        assert environment is not None
        self._set_world_ranks()
        address, port = environment.main_address, environment.main_port
        join(environment.global_rank(), environment.world_size(), address, port, self.root_device, self.seconds)
        super().setup_environment()


def join(rank: int, ranks: int, address: str, port: int, device: torch.device, seconds: float) -> list[Rank]:
    """Make the process group of a run, in which all ranks have met and added numbers; rank 0 prints who they are.

    Args:
        rank: of this process.
        ranks: how many there must be.
        address: of rank 0's machine.
        port: at which rank 0 listens.
        device: where this rank computes.
        seconds: in which all ranks must have answered, and then the sum must be there.

    Raises:
        RanksMissingError: if not.
    """
    store = _store(rank, ranks, address, port, seconds)
    everyone = _meet(store, rank, ranks, describe(device), f"{address}:{port}", seconds)
    if rank == 0:
        Console().print(rank_table(everyone))
    _add(store, rank, ranks, device, seconds)
    store.set_timeout(timedelta(minutes=30))
    return everyone


def describe(device: torch.device) -> Rank:
    """What the others should know of this process."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Rank(platform.node(), f"{device} {properties.name}", properties.total_memory / 2**30)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Rank(platform.node(), str(device), memory / 2**30)


def rank_table(everyone: list[Rank]) -> Table:
    """Ranks with host, device and memory."""
    table = Table("rank", "host", "device", "memory", title=f"{len(everyone)} ranks")
    for number, rank in enumerate(everyone):
        table.add_row(str(number), rank.host, rank.device, f"{rank.memory:.0f} GiB")
    return table


def _store(rank: int, ranks: int, address: str, port: int, seconds: float) -> Any:
    """Where ranks leave messages: rank 0 has it, or torchrun."""
    torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    wait, listens = timedelta(seconds=seconds), rank == 0 and not torchrun
    try:
        store = dist.TCPStore(address, port, ranks, listens, wait, wait_for_workers=False)  # type: ignore[attr-defined]
    except RuntimeError as error:
        if listens:
            reason = str(error).partition("\n")[0]
            raise RanksMissingError(f"rank 0 cannot listen at port {port} ({reason}); set MASTER_PORT") from error
        raise RanksMissingError(
            f"rank {rank} on {platform.node()} cannot reach rank 0 at {address}:{port} within {seconds:g} s: rank 0 "
            "has failed or not started (see its output), a firewall is between them, or MASTER_ADDR or MASTER_PORT is "
            "wrong"
        ) from error
    return c10d.PrefixStore(f"medgraph/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _meet(store: Any, rank: int, ranks: int, me: Rank, where: str, seconds: float) -> list[Rank]:
    """Tell the others who this is, and hear who they are."""
    keys = [f"rank {number}" for number in range(ranks)]
    deadline = time.monotonic() + seconds
    try:
        store.set(keys[rank], json.dumps(asdict(me)))
        while (missing := [key for key in keys if not store.check([key])]) and time.monotonic() < deadline:
            time.sleep(0.05)
    except RuntimeError as error:
        raise RanksMissingError(f"rank {rank}: rank 0 at {where} has ended; its output says why") from error
    if missing:
        raise RanksMissingError(
            f"{', '.join(missing)} of {ranks} ranks did not answer within {seconds:g} s at {where}. Have they failed "
            "or not started (see their output)? Is a firewall between the machines? Do all of them reach MASTER_ADDR, "
            "and is MASTER_PORT the same? Is trainer.devices × trainer.num_nodes what was started? Where ranks start "
            "slowly, raise trainer.preflight_seconds"
        )
    return [Rank(**json.loads(store.get(key))) for key in keys]


def _add(store: Any, rank: int, ranks: int, device: torch.device, seconds: float) -> None:
    """Make the default group and add up a number of every rank, in a thread that can be given up."""
    found: list[object] = []

    def add() -> None:
        try:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            backend = dist.get_default_backend_for_device(device)
            group = c10d.PrefixStore("group", store)
            dist.init_process_group(
                backend, store=group, rank=rank, world_size=ranks, device_id=device if device.type == "cuda" else None
            )
            atexit.register(_leave)  # NCCL wants it
            number = torch.ones((), device=device)
            dist.all_reduce(number)
            found.append(int(number.item()))
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=add, daemon=True)
    thread.start()
    thread.join(seconds)
    if found != [ranks]:
        reason = f" ({str(found[0]).partition(chr(10))[0]})" if found else ""
        raise RanksMissingError(
            f"rank {rank}: the {ranks} ranks have met but could not add a number up within {seconds:g} s{reason}. "
            "Ports other than MASTER_PORT may be blocked between the machines, or the wrong interface is used: set "
            "NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME to one that connects them (ip addr); NCCL_DEBUG=INFO says more"
        )


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
