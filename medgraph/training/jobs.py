"""Running many single-threaded runs side by side as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from medgraph.console import TERMINATED


@dataclass(frozen=True, slots=True)
class Job:
    """One process.

    Attributes:
        name: shown to the user.
        command: program and arguments.
        log: file for its output.
        done: file that exists once the job is finished; such jobs are skipped.
    """

    name: str
    command: Sequence[str]
    log: Path
    done: Path


class JobsFailedError(RuntimeError):
    """Some jobs ended with an error; the message names them and their logs."""


def run_jobs(jobs: Sequence[Job], workers: int, console: Console) -> None:
    """Run the jobs that are not done, some at a time, each on one thread.

    Ctrl-C and SIGTERM end in a SIGTERM for the running jobs, which save a checkpoint; running the same jobs again
    continues them.

    Args:
        jobs: what to run, in order.
        workers: processes at a time, at least 1.
        console: where progress goes.

    Raises:
        JobsFailedError: after all other jobs ran, if any failed.
        ValueError: for fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: expected at least 1")
    todo = [job for job in jobs if not job.done.exists()]
    console.print(f"{len(jobs)} runs, {len(jobs) - len(todo)} finished before, {workers} at a time")
    running: set[subprocess.Popen[bytes]] = set()
    stopped = threading.Event()

    def work(job: Job) -> tuple[Job, int, float]:
        start = time.perf_counter()
        if stopped.is_set():
            return job, -signal.SIGTERM, 0.0
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("w") as log:
            process = subprocess.Popen(
                job.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
            )
            running.add(process)
            if stopped.is_set():
                process.terminate()
            code = process.wait()
            running.discard(process)
        return job, code, time.perf_counter() - start

    failed: list[Job] = []
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, job) for job in todo]
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                job, code, seconds = future.result()
                state = (
                    f"done in {seconds:.0f} s"
                    if code == 0
                    else f"[red]failed with exit code {code}[/red], see {job.log}"
                )
                console.print(f"[{number}/{len(todo)}] {job.name}: {state}")
                if code != 0:
                    failed.append(job)
        except BaseException:
            stopped.set()
            for process in list(running):
                process.terminate()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    if failed:
        names = ", ".join(f"{job.name} ({job.log})" for job in failed)
        raise JobsFailedError(f"{len(failed)} of {len(jobs)} runs failed: {names}; run the same command to retry them")
