"""Measure the alignment core: solver against pygmtools, whole head against the official way, memory.

    python benchmarks/alignment.py [--sizes 16 32 64] [--rounds 5] [--json] [--check]

One thread, alternatives measured in turn, medians. Needs pygmtools for the solver bars: pip install pygmtools.
``--check`` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from common import Bar, Row, finish, interleave, options
from reference_exgra import official_loss, one_by_one_solver, rrwm_solver

from medgraph.alignment.gradients import gumbel
from medgraph.alignment.graph import knn
from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.alignment.matching import CosineEdgeCosts, DenseEdgeCosts, MatchingProblem, objective, solve

WIDTH, NEIGHBORS, PROBLEMS = 128, 5, 12
SOLVER_BARS = {16: 5.0, 64: 100.0}  # times faster than RRWM + Hungarian
HEAD_BARS = {16: 5.0, 32: 12.0, 64: 35.0}  # times faster than the official way with a dense solver
GRADIENT_BAR, MEMORY_BAR = 1e-5, 50.0


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64], metavar="B")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    finish(args, measure(args.sizes, args.rounds))


def measure(sizes: list[int], rounds: int) -> Iterator[Row]:
    for size in sizes:
        yield measure_solver(size, rounds)
        yield measure_head(size, rounds)
    yield measure_memory(1024)


def measure_solver(size: int, rounds: int) -> Row:
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

    times = milliseconds(rounds, {"medgraph": lambda: solve(problem), "rrwm": rrwm})
    ours = objective(problem, solve(problem))[:count].mean().item()
    theirs = torch.stack(rrwm()).argmax(-1)
    theirs = objective(MatchingProblem(problem.unary[:count], first_problems(table, count)), theirs).mean().item()
    ours_ms, rrwm_ms = times["medgraph"] / PROBLEMS, times["rrwm"] / count
    ratio = rrwm_ms / ours_ms
    bars = [Bar(f"mean objective, that of rrwm is {theirs:.3f}", ours, theirs)]
    if size in SOLVER_BARS:
        bars.append(Bar("times faster", ratio, SOLVER_BARS[size], at_least=True))
    figures = {"ms_medgraph": ours_ms, "ms_rrwm": rrwm_ms, "objective_medgraph": ours, "objective_rrwm": theirs}
    return Row(f"solver, B = {size}", figures | {"ratio": ratio}, bars)


def measure_head(size: int, rounds: int) -> Row:
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

    times = milliseconds(rounds, {"medgraph": medgraph, "one_by_one": lambda: official(one_by_one_solver)})
    begin = time.perf_counter()
    official(rrwm_solver)  # once: 24 dense solves
    times["rrwm"] = 1e3 * (time.perf_counter() - begin)
    ours, theirs = medgraph(), official(one_by_one_solver)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    ratio = times["rrwm"] / times["medgraph"]
    bars = [Bar("relative gradient error", error, GRADIENT_BAR)]
    if size in HEAD_BARS:
        bars.append(Bar("times faster", ratio, HEAD_BARS[size], at_least=True))
    figures = {
        "ms_medgraph": times["medgraph"], "ms_official_rrwm": times["rrwm"],
        "ms_official_same_solver": times["one_by_one"], "ratio": ratio,
        "ratio_same_solver": times["one_by_one"] / times["medgraph"], "gradient_error": error,
    }  # fmt: skip
    return Row(f"head, B = {size}", figures, bars)


def measure_memory(size: int) -> Row:
    """Peak memory of the solver's arrays for one problem."""
    problem = random_problem(size, 1)
    tracemalloc.start()
    begin = time.perf_counter()
    solve(problem)
    seconds = time.perf_counter() - begin
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return Row(f"memory, B = {size}", {"peak_mb": peak, "seconds": seconds}, [Bar("peak MB", peak, MEMORY_BAR)])


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


def milliseconds(rounds: int, variants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median of each variant by the clock."""
    seconds = interleave(variants, rounds, time.perf_counter)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
