"""Measure the alignment core: solver against pygmtools, whole head against the official way, memory.

    python benchmarks/alignment.py [--sizes 16 32 64] [--rounds 5] [--json] [--check]

One thread, alternatives measured in turn, medians. Needs pygmtools for the solver bars: pip install pygmtools.
``--check`` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from medgraph.alignment.gradients import gumbel
from medgraph.alignment.graph import knn
from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.alignment.matching import CosineEdgeCosts, DenseEdgeCosts, MatchingProblem, objective, solve

sys.path.insert(0, str(Path(__file__).parent))
from reference_exgra import official_loss, one_by_one_solver, rrwm_solver

WIDTH, NEIGHBORS, PROBLEMS = 128, 5, 12
SOLVER_BARS = {16: 5.0, 64: 100.0}  # times faster than RRWM + Hungarian
HEAD_BARS = {16: 5.0, 32: 12.0, 64: 35.0}  # times faster than the official way with a dense solver
GRADIENT_BAR, MEMORY_BAR = 1e-5, 50.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64], metavar="B")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in args.sizes:
        rows.append(measure_solver(size, args.rounds))
        rows.append(measure_head(size, args.rounds))
    rows.append(measure_memory(1024))
    print(json.dumps(rows, indent=2) if args.json else "\n".join(map(show, rows)))
    missed = [bar for row in rows for bar, met in row["bars"].items() if not met]
    if args.check and missed:
        sys.exit("missed: " + "; ".join(missed))


def measure_solver(size: int, rounds: int) -> dict[str, Any]:
    """Twelve problems at once, against one problem of pygmtools at a time; milliseconds a problem."""
    problem = random_problem(size, PROBLEMS)
    table = problem.edges.dense()
    tails = torch.arange(size).repeat_interleave(table.left.shape[-1])
    count = 2 if size > 32 else 6  # of the dense solver, which needs B⁴ numbers a problem

    def rrwm() -> list[torch.Tensor]:
        return [
            rrwm_solver(unary, costs, torch.stack([tails, left.flatten()]), torch.stack([tails, right.flatten()]))
            for unary, costs, left, right in zip(
                problem.unary[:count], table.costs, table.left, table.right, strict=False
            )
        ]

    times = interleave(rounds, medgraph=lambda: solve(problem), rrwm=rrwm)
    ours = objective(problem, solve(problem))[:count].mean().item()
    theirs = torch.stack(rrwm()).argmax(-1)
    theirs = objective(MatchingProblem(problem.unary[:count], first_problems(table, count)), theirs).mean().item()
    ours_ms, rrwm_ms = times["medgraph"] / PROBLEMS, times["rrwm"] / count
    ratio = rrwm_ms / ours_ms
    bars = {f"solver B={size}: mean objective {ours:.3f} <= {theirs:.3f}": ours <= theirs}
    if size in SOLVER_BARS:
        bars[f"solver B={size}: {ratio:.0f}x >= {SOLVER_BARS[size]:.0f}x"] = ratio >= SOLVER_BARS[size]
    return {
        "what": "solver", "B": size, "ms_medgraph": ours_ms, "ms_rrwm": rrwm_ms, "ratio": ratio,
        "objective_medgraph": ours, "objective_rrwm": theirs, "bars": bars,
    }  # fmt: skip


def measure_head(size: int, rounds: int) -> dict[str, Any]:
    """Preset ``official``, forward and backward, against the reference with two dense solvers."""
    head = ExGraHead(preset="official", diagnostics=False)
    torch.manual_seed(0)
    head.setup(WIDTH)
    head.eval()  # no dropout, so that both compute the same
    layers = head.graph_encoder

    def encode(x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return layers.second(layers.first(x, edges).relu(), edges).relu()

    views = random_views(size)
    num_edges = size * min(NEIGHBORS, size - 1)

    def medgraph() -> torch.Tensor:
        nodes = views.clone().requires_grad_()
        image, answer, extended = nodes
        texts = {"answer": NodeSet(answer), "extended": NodeSet(extended)}
        head(AlignmentInput(NodeSet(image), texts, torch.Generator().manual_seed(0))).loss.backward()
        return nodes.grad

    def official(solver: Callable[..., torch.Tensor]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = 0.05 * gumbel((1, 1, size, size), generator)[0, 0]
        edge_noise = 0.05 * gumbel((1, 6, num_edges, num_edges), generator)[0]
        nodes = views.clone().requires_grad_()
        official_loss(nodes, encode, noise, edge_noise, solver).backward()
        return nodes.grad

    times = interleave(rounds, medgraph=medgraph, one_by_one=lambda: official(one_by_one_solver))
    begin = time.perf_counter()
    official(rrwm_solver)  # once: 24 dense solves
    times["rrwm"] = 1e3 * (time.perf_counter() - begin)
    ours, theirs = medgraph(), official(one_by_one_solver)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    ratio = times["rrwm"] / times["medgraph"]
    bars = {f"head B={size}: relative gradient error {error:.1e} <= {GRADIENT_BAR:.0e}": error <= GRADIENT_BAR}
    if size in HEAD_BARS:
        bars[f"head B={size}: {ratio:.0f}x >= {HEAD_BARS[size]:.0f}x"] = ratio >= HEAD_BARS[size]
    return {
        "what": "head", "B": size, "ms_medgraph": times["medgraph"], "ms_official_rrwm": times["rrwm"],
        "ms_official_same_solver": times["one_by_one"], "ratio": ratio,
        "ratio_same_solver": times["one_by_one"] / times["medgraph"], "gradient_error": error, "bars": bars,
    }  # fmt: skip


def measure_memory(size: int) -> dict[str, Any]:
    """Peak memory of the solver's arrays for one problem."""
    problem = random_problem(size, 1)
    tracemalloc.start()
    begin = time.perf_counter()
    solve(problem)
    seconds = time.perf_counter() - begin
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    bars = {f"memory B={size}: {peak:.0f} MB < {MEMORY_BAR:.0f} MB": peak < MEMORY_BAR}
    return {"what": "memory", "B": size, "peak_mb": peak, "seconds": seconds, "bars": bars}


def random_views(size: int) -> torch.Tensor:
    """Three views of one latent, moderately aligned: (3, B, WIDTH)."""
    generator = torch.Generator().manual_seed(size)
    shared = torch.randn(1, size, WIDTH, generator=generator)
    return shared + 2.0 * torch.randn(3, size, WIDTH, generator=generator)


def random_problem(size: int, count: int) -> MatchingProblem:
    """Problems of two noisy views with their own k-NN graphs."""
    left, right = (torch.cat([random_views(size + 1000 * g)[v, :size][None] for g in range(count)]) for v in (0, 1))
    edges = CosineEdgeCosts(knn(left, NEIGHBORS), knn(right, NEIGHBORS), left, right)
    return MatchingProblem(-torch.cosine_similarity(left.unsqueeze(2), right.unsqueeze(1), dim=-1), edges)


def first_problems(table: DenseEdgeCosts, count: int) -> DenseEdgeCosts:
    return DenseEdgeCosts(table.left[:count], table.right[:count], table.costs[:count])


def interleave(rounds: int, **runs: Callable[[], Any]) -> dict[str, float]:
    """Run the alternatives in turn after one warm-up and return the median of each in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def show(row: dict[str, Any]) -> str:
    numbers = "  ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, int | float))
    verdicts = "\n".join(f"    {'ok    ' if met else 'MISSED'} {bar}" for bar, met in row["bars"].items())
    return f"{row['what']:7}{numbers}\n{verdicts}"


if __name__ == "__main__":
    main()
