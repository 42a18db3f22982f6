"""Running many single-threaded runs side by side as processes of their own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from rich.console import Console

from medgraph.console import Terminated
from medgraph.progress import bar

POLL = 5.0
"""Seconds between looks at what other workers hold."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process, for one run or for several in turn.

    Attributes:
        name: shown to the user.
        command: program and arguments.
        log: file for its output.
        done: of each run the file that ends it; a job is skipped where all are there.
    """

    name: str
    command: Sequence[str]
    log: Path
    done: Sequence[Path]

    @property
    def finished(self) -> int:
        """How many of its runs are."""
        return sum(file.exists() for file in self.done)

    @property
    def left(self) -> int:
        """How many of its runs are not finished."""
        return len(self.done) - self.finished


class JobsFailedError(RuntimeError):
    """Some jobs ended with an error; the message names them and their logs."""


def run_jobs(jobs: Sequence[Job], workers: int, console: Console) -> None:
    """Run the jobs that are not done, some at a time, each on one thread.

    Several processes, also on several machines with a common file system, may run the same jobs at once: each job is
    held by a lock that ends with its process. Whoever has nothing left to take waits for the others, and takes up what
    they have lost.

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
    crew = _Crew(jobs, console)
    console.print(f"{crew.runs} runs, {crew.finished} finished before, {workers} at a time")
    before = signal.signal(signal.SIGTERM, _terminate)
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(crew.work) for _ in range(workers)}
        try:
            crew.watch(futures)
        except BaseException:
            crew.stop()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    if crew.failed:
        names = ", ".join(f"{job.name} ({job.log})" for job in crew.failed)
        raise JobsFailedError(
            f"{sum(job.left for job in crew.failed)} of {crew.runs} runs failed: {names}; run the same "
            "command to retry them"
        )


class _Crew:
    """The workers of one process."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.jobs, self.console = jobs, console
        self.todo = [job for job in jobs if job.left]
        self.runs = sum(len(job.done) for job in jobs)
        self.failed: list[Job] = []
        self._waited = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped, self._access = threading.Event(), threading.Lock()

    @property
    def finished(self) -> int:
        """Runs that are done, here or elsewhere."""
        return sum(job.finished for job in self.jobs)

    def work(self) -> None:
        """Take one job after another until all are done, here or elsewhere."""
        while not self._stopped.is_set():
            with self._access:
                taken = next(((job, lock) for job in self.todo if (lock := _take(job)) is not None), None)
                if taken is not None:
                    self.todo.remove(taken[0])
                elif not (left := [job for job in self.todo if job.left]):
                    return
            if taken is None:
                self._wait(sum(job.left for job in left))
            else:
                self._run(*taken)

    def watch(self, futures: set[Future[None]]) -> None:
        """Show how far the runs are until the workers are through; raises what one of them raises."""
        done = self.finished
        with bar("runs", self.runs - done) as advance:
            left = futures
            while left:
                over, left = wait(left, timeout=POLL, return_when=FIRST_EXCEPTION)
                for future in over:
                    future.result()
                before, done = done, self.finished
                advance(done - before)

    def stop(self) -> None:
        """End what runs, in a way that lets it continue later."""
        self._stopped.set()
        for process in list(self._running):
            process.terminate()

    def _wait(self, count: int) -> None:
        if not self._waited:
            self.console.print(f"waiting for {count} runs of other workers")
        self._waited = True
        self._stopped.wait(POLL)

    def _run(self, job: Job, lock: IO[str]) -> None:
        if not job.left:  # by another worker, since the beginning
            lock.close()
            return self._report(f"{job.name}: done elsewhere")
        start = time.perf_counter()
        with lock, job.log.open("w") as log:
            process = subprocess.Popen(
                job.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
                pass_fds=(lock.fileno(),),  # the job stays held should this process be killed and leave it running
            )
            self._running.add(process)
            if self._stopped.is_set():
                process.terminate()
            code = process.wait()
            self._running.discard(process)
        if self._stopped.is_set():
            return None
        if code != 0:
            self.failed.append(job)
            return self._report(f"{job.name}: [red]failed with exit code {code}[/red], see {job.log}")
        return self._report(f"{job.name}: done in {time.perf_counter() - start:.0f} s")

    def _report(self, sentence: str) -> None:
        with self._access:
            self.console.print(f"[{self.finished}/{self.runs}] {sentence}")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _take(job: Job) -> IO[str] | None:
    """The job's lock, if nobody else holds it."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    lock = job.log.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
