"""What the benchmarks share: alternatives measured in turn, limits on figures, and the way a script ends.

A benchmark is a generator of rows::

    def main() -> None:
        parser = options(__doc__)
        parser.add_argument("--rounds", type=int, default=7)
        args = parser.parse_args()
        finish(args, (measure(size, args.rounds) for size in SIZES))
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit that a figure has to keep.

    Attributes:
        name: what the figure is.
        value: the figure.
        limit: the largest accepted value.
        at_least: the limit is the smallest accepted value.
    """

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.4g} {'>=' if self.at_least else '<='} {self.limit:.4g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a benchmark's table: what was measured, its figures by name, and the limits on them."""

    what: str
    figures: Mapping[str, Any]
    bars: list[Bar] = field(default_factory=list)


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark; torch keeps to one thread from now on."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    return parser


def interleave(
    variants: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    warmup: bool = True,
) -> dict[str, list[float]]:
    """Seconds of each call, the variants in turn in every round and in reverse in every other.

    Args:
        variants: calls by name.
        rounds: measurements of each.
        clock: CPU time of the process by default.
        warmup: run a round before, which does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(1 - warmup, rounds + 1):
        for name, call in list(variants.items())[:: 1 - 2 * (number % 2)]:
            start = clock()
            call()
            if number:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], variant: str, base: str) -> float:
    """Median over the rounds of the time of one variant over that of another in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[variant], seconds[base], strict=True))


def peak_memory(call: Callable[[], Any]) -> int:
    """Largest sum of live allocations by torch operators on the CPU during a call, in bytes."""
    live = peak = 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def finish(args: argparse.Namespace, rows: Iterable[Row], show: Callable[[Row], str] | None = None) -> None:
    """Print rows as they come, and leave with 1 if ``--check`` is given and a bar is missed.

    Args:
        args: from a parser made by ``options``.
        rows: the measurements.
        show: a row's figures as text; default all numbers by name.
    """
    done: list[Row] = []
    for row in rows:
        done.append(row)
        if not args.json:
            print((show or _show)(row))
            for bar in row.bars:
                print(f"    {'ok    ' if bar.met else 'MISSED'} {bar}", flush=True)
    if args.json:
        print(json.dumps([{"what": row.what, **row.figures, "bars": {str(b): b.met for b in row.bars}} for row in done],
                         indent=2))  # fmt: skip
    missed = [str(bar) for row in done for bar in row.bars if not bar.met]
    if args.check and missed:
        sys.exit("missed: " + "; ".join(missed))


def _show(row: Row) -> str:
    numbers = (f"{name} {value:.4g}" for name, value in row.figures.items() if isinstance(value, int | float))
    return f"{row.what}: {', '.join(numbers)}"
