"""Train linear encoders with every alignment head, and with variants of ExGra-Med, on a toy world; one row each.

    python benchmarks/toy_world.py [--seeds 5] [--steps 80] [--quick] [--json] [--check]

One thread, some minutes. All rows see the same worlds: 500 training samples, batches of 16, recall@1 among 100 samples
that were not trained on (chance 0.01), mean and 95 % t interval over seeds; times are CPU time, medians over seeds.
``recall`` compares the nodes, ``own`` is the head's own ``match_accuracy``: in the space it compares in and with the
target it matches to (for a barycenter that contains the image, close to one without anything learnt). A toy world shows
what does not work; it ranks nothing. ``--check`` exits with 1 unless the recall of every registered head is above
chance (for ``convirt``, which trains projections of the nodes, its own measure) and that of ``none`` is not.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import Bar, Row, finish, options
from scipy.stats import t as student

from medgraph.alignment.registry import HEADS, head_class
from medgraph.alignment.toy import CHANCE, align_toy_world

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "infonce, one-sided, not centred": ("infonce", {"symmetric": False, "center": False}),
    "exgra, official": ("exgra", {"preset": "official"}),
    "exgra, paper": ("exgra", {"preset": "paper"}),
    "exgra, no encoder": ("exgra", {"encoder": "none"}),
    "exgra, one sample": ("exgra", {"num_samples": 1}),
    "exgra, edges 0.05": ("exgra", {"edge_weight": 0.05}),
    "exgra, edges 0.05 after warm-up": ("exgra", {"edge_weight": 0.05, "edge_warmup": 40}),
    "exgra, graph width 8": ("exgra", {"graph_dim": 8}),
    "exgra, I-MLE": ("exgra", {"gradient": "imle"}),
    "exgra, adaptive I-MLE": ("exgra", {"gradient": "aimle"}),
    "exgra, black box": ("exgra", {"gradient": "blackbox"}),
    "exgra, straight-through": ("exgra", {"gradient": "straight_through"}),
    "exgra, entropic": ("exgra", {"gradient": "entropic"}),
    "exgra, entropic, edges 0.05": ("exgra", {"gradient": "entropic", "edge_weight": 0.05}),
}
OWN_SPACE = {"convirt"}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="worlds a row, at least 2")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--quick", action="store_true", help="3 seeds")
    args = parser.parse_args()
    if not args.json:
        print(f"{'head':34}{'recall@1 [95 %]':>21}{'own [95 %]':>21}{'ms a step':>11}")
    finish(args, measure_all(3 if args.quick else args.seeds, args.steps), show)


def measure_all(seeds: int, steps: int) -> Iterator[Row]:
    for name in sorted(HEADS):
        yield measure(name, name, {}, seeds, steps)
    for variant, (name, changed) in VARIANTS.items():
        yield measure(variant, name, changed, seeds, steps)


def measure(what: str, name: str, changed: dict[str, Any], seeds: int, steps: int) -> Row:
    results = [align_toy_world(head_class(name)(**changed), seed, steps) for seed in range(seeds)]
    figures = {
        "options": changed,
        "recall": interval([result.recall for result in results]),
        "own": interval([result.match_accuracy for result in results]),
        "step_ms": statistics.median(result.step_ms for result in results),
    }
    judged = figures["own" if what in OWN_SPACE else "recall"]
    is_head = what in HEADS and judged is not None
    bars = [Bar("lower end against chance", judged["low"], CHANCE, at_least=what != "none")] if is_head else []
    return Row(what, figures, bars)


def interval(values: list[float]) -> dict[str, float] | None:
    """Mean and 95 % t interval over seeds, within [0, 1]; None for a head without the measure."""
    mean = np.mean(values)
    if np.isnan(mean):
        return None
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    low, high = np.clip([mean - half, mean + half], 0, 1).tolist()
    return {"mean": mean.item(), "low": low, "high": high}


def show(row: Row) -> str:
    cells = [
        f"{value['mean']:.3f} [{value['low']:.2f}, {value['high']:.2f}]" if value else "none"
        for value in (row.figures["recall"], row.figures["own"])
    ]
    return f"{row.what:34}{cells[0]:>21}{cells[1]:>21}{row.figures['step_ms']:>11.1f}"


if __name__ == "__main__":
    main()
