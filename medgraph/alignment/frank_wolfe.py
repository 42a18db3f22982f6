"""Frank-Wolfe for quadratic assignment: linear assignments on the gradient, an exact line search, then 2-swaps.

Letters: P problems, A problems still active, B nodes, K neighbours, E = B·K edges.
"""

from __future__ import annotations

import numpy as np

from medgraph.alignment.matching import Floats, Ints, MatchingProblem, lap, to_numpy, unary_costs

TOLERANCE = 1e-9
RELATIVE_GAP = 1e-3  # Frank-Wolfe stops where a step can gain less than this share of the objective; swaps do the rest


class EdgeOperator:
    """The gradient of the edge term at a matching, H(m) with ``edge term = ½ <m, H m>``, in O(B·K²) reads.

    Only edge pairs of which one end is matched contribute, so the (B·K)² table is never touched as a whole.
    """

    def __init__(self, problem: MatchingProblem) -> None:
        assert problem.edges is not None
        self.left = to_numpy(problem.edges.left).astype(np.int64, copy=False)
        self.right = to_numpy(problem.edges.right).astype(np.int64, copy=False)
        self.read = problem.edges.reader()
        num_problems, self.num_nodes, self.k = self.left.shape
        # Right edges sorted by (problem, head): those into node j are a slice.
        heads = (np.arange(num_problems)[:, None] * self.num_nodes + self.right.reshape(num_problems, -1)).reshape(-1)
        self.incoming = np.argsort(heads, kind="stable") % (self.num_nodes * self.k)
        self.incoming_tail = self.incoming // self.k
        self.in_degree = np.bincount(heads, minlength=num_problems * self.num_nodes)
        self.in_start = np.cumsum(self.in_degree) - self.in_degree

    def __call__(self, active: Ints, matching: Ints) -> Floats:
        """Apply H.

        Args:
            active: (A,) problem numbers; taken modulo the number of edge sets.
            matching: (A, B) int64, -1 for unmatched.

        Returns:
            (A, B, B) float64.
        """
        n, k, num_active = self.num_nodes, self.k, len(active)
        base = active % len(self.left)
        left = self.left[base]
        rows = np.arange(num_active)
        first_cell = (rows * (n * n))[:, None, None]
        edge = (base * (n * k))[:, None, None] + np.arange(n * k).reshape(n, k)

        # Tails matched, i→m(i): every right edge out of m(i) could be the image, so its head attracts the head of e.
        image = np.maximum(matching, 0)
        tail_costs = self.read(edge[..., None], image[:, :, None, None] * k + np.arange(k))  # (A, B, K, K)
        if (matching < 0).any():
            tail_costs = tail_costs * (matching >= 0)[:, :, None, None]
        tail_cells = (first_cell + left * n)[..., None] + self.right[base[:, None], image][:, :, None, :]

        # Heads matched, k→m(k): every right edge into m(k) could be the image, so its tail attracts the tail of e.
        image = matching[rows[:, None, None], left].reshape(-1)
        slot = np.repeat(base * n, n * k) + image
        count = np.where(image >= 0, self.in_degree[slot], 0)
        source = np.repeat(np.arange(len(image)), count)
        position = (self.in_start[slot] - (np.cumsum(count) - count))[source]
        position += np.arange(len(source))
        head_costs = self.read(edge.reshape(-1)[source], self.incoming[position])
        tails = np.broadcast_to(first_cell + np.arange(n)[:, None] * n, left.shape).reshape(-1)
        head_cells = tails[source] + self.incoming_tail[position]

        cells = np.concatenate([tail_cells.reshape(-1), head_cells])
        costs = np.concatenate([tail_costs.reshape(-1), head_costs])
        total: Floats = np.bincount(cells, costs, minlength=num_active * n * n).astype(np.float64, copy=False)
        return total.reshape(num_active, n, n)

    def add_second_order(self, change: Floats, active: Ints, matching: Ints) -> None:
        """Add the edge costs that a swap of two images has beyond the gradient.

        Swapping the images of i and k changes both ends of the edge i→k at once; that term is
        Q[i→k, m(i)→m(k)] + Q[i→k, m(k)→m(i)], where those right edges exist.

        Args:
            change: (A, N, N) with N ≥ B, changed in place; symmetric in i and k.
            active: (A,) problem numbers.
            matching: (A, B) int64, -1 for unmatched.
        """
        k = self.k
        base = active % len(self.left)
        left, right = self.left[base], self.right[base]
        rows = np.arange(len(active))[:, None, None]
        tail_image = np.broadcast_to(matching[:, :, None], left.shape)
        head_image = matching[rows, left]
        for start, end in ((tail_image, head_image), (head_image, tail_image)):
            hit = right[rows, np.maximum(start, 0)] == end[..., None]
            hit &= ((start >= 0) & (end >= 0))[..., None]
            row, i, a, b = np.nonzero(hit)
            head = left[row, i, a]
            costs = self.read((base[row] * self.num_nodes + i) * k + a, start[row, i, a] * k + b)
            np.add.at(change, (row, i, head), costs)
            np.add.at(change, (row, head, i), costs)


def frank_wolfe(problem: MatchingProblem, max_iterations: int = 4) -> Ints:
    """Minimise the matching objective to a 2-swap optimum.

    Args:
        problem: P problems of B nodes with edges.
        max_iterations: cap on linear assignments a problem.

    Returns:
        (P, B) int64, -1 for unmatched.
    """
    unary, operator = unary_costs(problem), EdgeOperator(problem)
    partial = problem.threshold is not None
    return two_swap(unary, operator, descend(unary, operator, partial, max_iterations), partial)


def descend(unary: Floats, operator: EdgeOperator, partial: bool, max_iterations: int) -> Ints:
    """Follow Frank-Wolfe from the optimum of the unary costs and return the best matching met on the way.

    Also known as integer projected fixed point (Leordeanu et al. 2009). Every step solves one linear assignment on the
    gradient U + Hx. The edge term is needed at matchings v only, since H((1-t) x + t v) = (1-t) Hx + t Hv, and the
    point x itself is needed in two scalars only, <U, x> and <x, Hx>.

    Args:
        unary: (P, B, B) float64.
        operator: the edge term.
        partial: whether nodes may stay unmatched.
        max_iterations: cap on linear assignments a problem.

    Returns:
        (P, B) int64.
    """
    active, costs = np.arange(len(unary)), unary
    best = lap(costs, partial)
    gradient = operator(active, best)
    gradient += costs
    linear = paid(costs, best)
    quadratic = paid(gradient, best) - linear
    best_value = linear + quadratic / 2
    for _ in range(max_iterations):
        vertex = lap(gradient, partial)
        descent = linear + quadratic - paid(gradient, vertex)
        going = descent > np.maximum(TOLERANCE, RELATIVE_GAP * np.abs(best_value[active]))
        if not going.any():
            break
        if not going.all():  # copies cost as much as a step
            active, costs, vertex, gradient = active[going], costs[going], vertex[going], gradient[going]
            linear, quadratic, descent = linear[going], quadratic[going], descent[going]
        vertex_linear = paid(costs, vertex)
        vertex_gradient = operator(active, vertex)
        vertex_gradient += costs
        vertex_quadratic = paid(vertex_gradient, vertex) - vertex_linear
        value = vertex_linear + vertex_quadratic / 2
        lower = value < best_value[active] - TOLERANCE
        best[active[lower]], best_value[active[lower]] = vertex[lower], value[lower]

        cross = paid(gradient, vertex) - vertex_linear  # <v, H x>
        curvature = vertex_quadratic - 2 * cross + quadratic
        convex = curvature > TOLERANCE
        step = np.where(convex, np.minimum(descent / np.where(convex, curvature, 1.0), 1.0), 1.0)
        stay = 1 - step
        linear = stay * linear + step * vertex_linear
        quadratic = stay**2 * quadratic + 2 * stay * step * cross + step**2 * vertex_quadratic
        vertex_gradient -= gradient
        vertex_gradient *= step[:, None, None]
        gradient += vertex_gradient
    return best


def two_swap(unary: Floats, operator: EdgeOperator, matching: Ints, partial: bool) -> Ints:
    """Swap the images of two nodes, the best pair first, until no swap lowers the objective.

    Where nodes may stay unmatched, B dummy nodes on either side stand for "unmatched", so that a swap with a dummy
    matches or frees a node.

    Args:
        unary: (P, B, B) float64.
        operator: the edge term.
        matching: (P, B) int64 start.
        partial: whether nodes may stay unmatched.

    Returns:
        (P, B) int64.
    """
    num_nodes = unary.shape[1]
    full = add_dummies(matching) if partial else matching.copy()
    active = np.arange(len(full))
    for _ in range(4 * num_nodes):
        change = swap_changes(unary, operator, active, full[active]).reshape(len(active), -1)
        pick = change.argmin(1)
        lower = change[np.arange(len(active)), pick] < -TOLERANCE
        active, pick = active[lower], pick[lower]
        if not len(active):
            break
        i, j = np.divmod(pick, full.shape[1])
        full[active, i], full[active, j] = full[active, j], full[active, i]
        del change
    return np.where(full < num_nodes, full, -1)[:, :num_nodes]


def swap_changes(unary: Floats, operator: EdgeOperator, active: Ints, full: Ints) -> Floats:
    """Compute by how much the objective changes when nodes i and j swap their images.

    Args:
        unary: (P, B, B) float64.
        operator: the edge term.
        active: (A,) problem numbers.
        full: (A, N) int64 permutations, N = B or, with dummies, 2B.

    Returns:
        (A, N, N) float64, symmetric.
    """
    num_nodes, num_dummies = unary.shape[1], full.shape[1] - unary.shape[1]
    matching = np.where(full < num_nodes, full, -1)[:, :num_nodes]
    gradient = operator(active, matching)
    gradient += unary[active]
    if num_dummies:
        gradient = np.pad(gradient, ((0, 0), (0, num_dummies), (0, num_dummies)))
    cross = np.take_along_axis(gradient, full[:, None, :], 2)  # cost of i at the image of j
    del gradient
    own = np.diagonal(cross, axis1=1, axis2=2)
    change = cross + cross.transpose(0, 2, 1)
    change -= own[:, :, None]
    change -= own[:, None, :]
    operator.add_second_order(change, active, matching)
    return change


def add_dummies(matching: Ints) -> Ints:
    """Complete a partial matching of B nodes to a permutation of 2B: (P, B) → (P, 2B)."""
    num_problems, n = matching.shape
    full = np.empty((num_problems, 2 * n), dtype=np.int64)
    full[:, :n] = np.where(matching >= 0, matching, n + np.arange(n))
    full[:, n:] = np.arange(n)  # dummy n+j takes the right node j where it is free,
    row, i = np.nonzero(matching >= 0)
    full[row, n + matching[row, i]] = n + i  # else the dummy that left node i does not need
    return full


def paid(costs: Floats, matching: Ints) -> Floats:
    """Sum the costs of the matched pairs: (P, B, B), (P, B) → (P,)."""
    num_problems, num_nodes = matching.shape
    taken = costs[np.arange(num_problems)[:, None], np.arange(num_nodes), matching]
    total: Floats = (taken * (matching >= 0)).sum(1)
    return total
