"""Signals that ask a run to stop: obeyed at once, or, while a step is under way, when the step is over.

Ctrl-C, SIGTERM (what schedulers send before they kill) and, under SLURM, SIGUSR1 (``#SBATCH --signal=USR1@300``), for
which the job is put back into the queue.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from medgraph.console import Terminated
from medgraph.data.loading import rank_and_ranks

AGAIN = 1.0
"""Seconds after which another Ctrl-C means: now. (A terminal and a launcher may both pass on the same one.)"""


class Interrupts:
    """Handlers of the signals, in place inside the ``with`` block (in the main thread; elsewhere it does nothing).

    Attributes:
        received: number of the signal that waits to be obeyed; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._waiting, self._since = False, 0.0
        self._before: dict[int, Any] = {}
        self._group: dist.ProcessGroup | None = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            known = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else [])]
            self._before = {number: signal.signal(number, self._receive) for number in known}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> None:
        """From now on only note a signal; whoever calls this asks `agreed` and obeys."""
        self._waiting = True
        for number in self._before:  # Lightning's handler of SIGTERM communicates wherever the ranks happen to be
            signal.signal(number, self._receive)

    def release(self) -> None:
        """Obey at once again."""
        self._waiting = False

    def agreed(self) -> int:
        """The signal that any rank has received; all ranks must ask together."""
        if rank_and_ranks()[1] == 1:
            return self.received
        if self._group is None:  # gloo: no wait for the GPU
            self._group = dist.new_group(backend="gloo")
        number = torch.tensor(self.received)
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self._group)
        return int(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and time.monotonic() - self._since > AGAIN
        if not self._waiting or (self.received and again):
            obey(number)
        if not self.received:
            self.received, self._since = number, time.monotonic()
            hint = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            os.write(2, f"{signal.Signals(number).name}: stopping after this step{hint}\n".encode())


def obey(number: int) -> NoReturn:
    """End the run as the signal wants it.

    Ranks above 0 end with code 0, so that no launcher takes them for the cause and kills rank 0, which speaks for all.

    Raises:
        KeyboardInterrupt: for SIGINT.
        Terminated: for the others.
    """
    if rank_and_ranks()[0] > 0:
        raise SystemExit(0)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number == signal.SIGUSR1:
        requeue()
    raise Terminated


def requeue() -> None:
    """Put this SLURM job back into the queue; say so where that fails."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    assert re.fullmatch(r"[\d_]+", job), job
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
        print(f"job {job} is back in the queue", file=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        print(f"job {job} could not be requeued ({reason.strip()}); submit it again to continue", file=sys.stderr)
