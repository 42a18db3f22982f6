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

import argparse
import json
import os
import statistics
import sys
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="worlds a row, at least 2")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--quick", action="store_true", help="3 seeds")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every head is above chance")
    args = parser.parse_args()
    torch.set_num_threads(1)
    heads: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in sorted(HEADS)}
    if not args.json:
        print(f"{'head':34}{'recall@1 [95 %]':>21}{'own [95 %]':>21}{'ms a step':>11}")
    rows = []
    for row, (name, options) in (heads | VARIANTS).items():
        rows.append(measure(row, name, options, 3 if args.quick else args.seeds, args.steps))
        if not args.json:
            print(show(rows[-1]), flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))
    missed = [row["head"] for row in rows if row["head"] in HEADS and not passes(row)]
    if args.check and missed:
        sys.exit("not as expected against chance: " + ", ".join(missed))


def measure(row: str, name: str, options: dict[str, Any], seeds: int, steps: int) -> dict[str, Any]:
    results = [align_toy_world(head_class(name)(**options), seed, steps) for seed in range(seeds)]
    return {
        "head": row,
        "options": options,
        "recall": interval([result.recall for result in results]),
        "own": interval([result.match_accuracy for result in results]),
        "step_ms": statistics.median(result.step_ms for result in results),
    }


def interval(values: list[float]) -> dict[str, float] | None:
    """Mean and 95 % t interval over seeds, within [0, 1]; None for a head without the measure."""
    mean = np.mean(values)
    if np.isnan(mean):
        return None
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    low, high = np.clip([mean - half, mean + half], 0, 1).tolist()
    return {"mean": mean.item(), "low": low, "high": high}


def passes(row: dict[str, Any]) -> bool:
    """Whether a head is above chance; the control must not be."""
    low = row["own" if row["head"] in OWN_SPACE else "recall"]["low"]
    return low <= CHANCE if row["head"] == "none" else low > CHANCE


def show(row: dict[str, Any]) -> str:
    cells = [
        f"{value['mean']:.3f} [{value['low']:.2f}, {value['high']:.2f}]" if value else "none"
        for value in (row["recall"], row["own"])
    ]
    return f"{row['head']:34}{cells[0]:>21}{cells[1]:>21}{row['step_ms']:>11.1f}"


if __name__ == "__main__":
    main()
