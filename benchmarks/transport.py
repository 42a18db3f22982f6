"""Measure the transport between prompts and tokens: all problems at once against a Python loop over POT.

    python benchmarks/transport.py [--images 64] [--classes 16] [--rounds 5] [--json] [--check]

One thread, alternatives measured in turn, medians, the same number of iterations for both, float32 for both. Needs POT:
pip install 'medgraph[bench]'. ``--check`` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import ot
import torch
from common import Bar, Row, finish, interleave, options, ratio

from medgraph.alignment.transport import transport_plan

SIZES = {"PLOT": (49, 4, (math.inf, math.inf)), "Dude, 4 views": (196, 8, (0.5, 0.5))}
"""Visual tokens, prompts and relaxation: 7 × 7 patches of an image, or of four views of it."""
EPSILON, ITERATIONS, WIDTH = 0.1, 100, 64
FASTER, ERROR = 10.0, 1e-5


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--classes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    finish(args, measure(args.images, args.classes, args.rounds))


def measure(images: int, classes: int, rounds: int) -> Iterator[Row]:
    for what, (tokens, prompts, relaxation) in SIZES.items():
        costs = random_costs(images * classes, tokens, prompts)
        one_by_one = costs.numpy()

        def batched(costs=costs, relaxation=relaxation) -> torch.Tensor:
            return transport_plan(costs, EPSILON, relaxation, iterations=ITERATIONS)

        def pot(costs=one_by_one, relaxation=relaxation) -> list[np.ndarray]:
            return [pot_plan(problem, relaxation) for problem in costs]

        seconds = interleave({"medgraph": batched, "pot": pot}, rounds)
        some = costs[:8].double()
        ours = transport_plan(some, EPSILON, relaxation, iterations=ITERATIONS)
        theirs = np.stack([pot_plan(problem, relaxation) for problem in some.numpy()])
        error, times = float(np.abs(ours.numpy() - theirs).max()), ratio(seconds, "pot", "medgraph")
        figures = {f"ms_{name}": 1e3 * statistics.median(values) for name, values in seconds.items()}
        yield Row(
            f"{what}: {images} images × {classes} classes, {tokens} × {prompts}",
            {**figures, "ratio": times, "error": error},
            [Bar("times faster", times, FASTER, at_least=True), Bar("largest difference, float64", error, ERROR)],
        )


def random_costs(count: int, tokens: int, prompts: int) -> torch.Tensor:
    """One minus the cosines of random vectors: (count, tokens, prompts)."""
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.nn.functional.normalize(torch.randn(count, size, WIDTH, generator=generator), dim=-1)
        for size in (tokens, prompts)
    )
    return 1 - left @ right.mT


def pot_plan(costs: np.ndarray, relaxation: tuple[float, float]) -> np.ndarray:
    """One problem by POT, with as many iterations as ours."""
    a, b = (np.full(size, 1 / size, costs.dtype) for size in costs.shape)
    if math.isinf(relaxation[0]):
        return ot.sinkhorn(a, b, costs, EPSILON, numItermax=ITERATIONS, stopThr=0, warn=False)
    return ot.unbalanced.sinkhorn_unbalanced(
        a, b, costs, EPSILON, relaxation, c=np.ones_like(costs), numItermax=ITERATIONS, stopThr=0
    )


if __name__ == "__main__":
    main()
