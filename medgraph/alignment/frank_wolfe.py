"""Frank-Wolfe for quadratic assignment: linear assignments on the gradient, an exact line search, then 2-swaps.

Letters: P problems, A problems still active, B nodes, K neighbours, E = B·K edges.
"""

from __future__ import annotations

import numpy as np

from medgraph.alignment.matching import Floats, Ints, MatchingProblem, lap, to_numpy, unary_costs

TOLERANCE = 1e-9


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
        self.in_degree = np.bincount(heads, minlength=num_problems * self.num_nodes)
        self.in_start = np.concatenate([[0], np.cumsum(self.in_degree)[:-1]])

    def __call__(self, active: Ints, matching: Ints) -> Floats:
        """Apply H.

        Args:
            active: (A,) problem numbers; taken modulo the number of edge sets.
            matching: (A, B) int64, -1 for unmatched.

        Returns:
            (A, B, B) float64.
        """
        n, k = self.num_nodes, self.k
        base = active % len(self.left)
        row = np.repeat(np.arange(len(active)), n * k)
        edge = np.tile(np.arange(n * k), len(active))
        tail, head = edge // k, self.left[base].reshape(-1)
        # Tails matched, i→m(i): every right edge f out of m(i) could be the image, so its head attracts the head of e.
        image = matching[row, tail]
        keep = np.flatnonzero(image >= 0)
        row_1, edge_1 = np.repeat(row[keep], k), np.repeat(edge[keep], k)
        other_1 = (image[keep, None] * k + np.arange(k)).reshape(-1)
        cell_1 = np.repeat(head[keep], k) * n + self.right.reshape(len(self.left), -1)[base[row_1], other_1]
        # Heads matched, k→m(k): every right edge f into m(k) could be the image, so its tail attracts the tail of e.
        image = matching[row, head]
        keep = np.flatnonzero(image >= 0)
        slot = base[row[keep]] * n + image[keep]
        count = self.in_degree[slot]
        source = np.repeat(keep, count)
        position = np.arange(len(source)) + np.repeat(self.in_start[slot] - (np.cumsum(count) - count), count)
        other_2 = self.incoming[position]
        row_2, edge_2 = row[source], edge[source]
        cell_2 = tail[source] * n + other_2 // k

        rows = np.concatenate([row_1, row_2])
        costs = self.read(base[rows], np.concatenate([edge_1, edge_2]), np.concatenate([other_1, other_2]))
        cells = rows * (n * n) + np.concatenate([cell_1, cell_2])
        total: Floats = np.bincount(cells, costs, minlength=len(active) * n * n).astype(np.float64, copy=False)
        return total.reshape(len(active), n, n)

    def second_order(self, active: Ints, matching: Ints) -> Floats:
        """Edge costs that a swap of two images adds beyond the gradient: (A, B, B), symmetric.

        Swapping the images of i and k changes both ends of the edge i→k at once; that term is
        Q[i→k, m(i)→m(k)] + Q[i→k, m(k)→m(i)], where those right edges exist.
        """
        n, k = self.num_nodes, self.k
        base = active % len(self.left)
        left, right = self.left[base], self.right[base]
        rows = np.arange(len(active))[:, None, None]
        tail_image = np.broadcast_to(matching[:, :, None], left.shape)
        head_image = matching[rows, left]
        total = np.zeros((len(active), n, n))
        for start, end in ((tail_image, head_image), (head_image, tail_image)):
            hit = right[rows, np.maximum(start, 0)] == end[..., None]
            hit &= ((start >= 0) & (end >= 0))[..., None]
            row, i, a, b = np.nonzero(hit)
            costs = self.read(base[row], i * k + a, start[row, i, a] * k + b)
            np.add.at(total, (row, i, left[row, i, a]), costs)
        return total + total.transpose(0, 2, 1)


def frank_wolfe(problem: MatchingProblem, max_iterations: int = 30) -> Ints:
    """Minimise the matching objective to a 2-swap optimum.

    Frank-Wolfe (also known as integer projected fixed point, Leordeanu et al. 2009) starts at the optimum of the unary
    costs. Every step solves one linear assignment, and the edge term is needed at matchings only, since
    H(x + t(v - x)) = (1-t) Hx + t Hv. The best matching met on the way is then improved by swaps of two images.

    Args:
        problem: P problems of B nodes with edges.
        max_iterations: cap on linear assignments a problem.

    Returns:
        (P, B) int64, -1 for unmatched.
    """
    unary, operator = unary_costs(problem), EdgeOperator(problem)
    partial = problem.threshold is not None
    active = np.arange(len(unary))
    best = lap(unary, partial)
    best_value = np.full(len(unary), np.inf)
    vertex = best
    x = np.zeros_like(unary)  # current point of the active problems, and H x
    hx = np.zeros_like(unary)
    for iteration in range(max_iterations):
        indicator = one_hot(vertex)
        hv = operator(active, vertex)
        value = ((unary[active] + 0.5 * hv) * indicator).sum((1, 2))
        improved = value < best_value[active] - TOLERANCE
        best[active[improved]], best_value[active[improved]] = vertex[improved], value[improved]
        if iteration == 0:
            x, hx = indicator, hv
        else:
            step = _line_search(unary[active] + hx, indicator - x, hv - hx)
            x, hx = x + step * (indicator - x), hx + step * (hv - hx)
        gradient = unary[active] + hx
        vertex = lap(gradient, partial)
        gap = (gradient * (x - one_hot(vertex))).sum((1, 2))
        going = gap > TOLERANCE
        active, vertex, x, hx = active[going], vertex[going], x[going], hx[going]
        if not len(active):
            break
    return two_swap(unary, operator, best, partial)


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
        real = np.where(full[active] < num_nodes, full[active], -1)[:, :num_nodes]
        gradient = unary[active] + operator(active, real)
        second = operator.second_order(active, real)
        if partial:
            gradient, second = (np.pad(term, ((0, 0), (0, num_nodes), (0, num_nodes))) for term in (gradient, second))
        cross = np.take_along_axis(gradient, full[active][:, None, :], 2)  # cost of i at the image of j
        own = np.diagonal(cross, axis1=1, axis2=2)
        change = cross + cross.transpose(0, 2, 1) - own[:, :, None] - own[:, None, :] + second
        pick = change.reshape(len(active), -1).argmin(1)
        lower = np.take_along_axis(change.reshape(len(active), -1), pick[:, None], 1)[:, 0] < -TOLERANCE
        active, pick = active[lower], pick[lower]
        if not len(active):
            break
        i, j = np.divmod(pick, full.shape[1])
        full[active, i], full[active, j] = full[active, j], full[active, i]
    return np.where(full < num_nodes, full, -1)[:, :num_nodes]


def add_dummies(matching: Ints) -> Ints:
    """Complete a partial matching of B nodes to a permutation of 2B: (P, B) → (P, 2B)."""
    num_problems, n = matching.shape
    full = np.empty((num_problems, 2 * n), dtype=np.int64)
    full[:, :n] = np.where(matching >= 0, matching, n + np.arange(n))
    full[:, n:] = np.arange(n)  # dummy n+j takes the right node j where it is free,
    row, i = np.nonzero(matching >= 0)
    full[row, n + matching[row, i]] = n + i  # else the dummy that left node i does not need
    return full


def one_hot(matching: Ints) -> Floats:
    """Write matchings as 0/1 matrices: (P, B) → (P, B, B)."""
    table = np.zeros((*matching.shape, matching.shape[1]))
    row, i = np.nonzero(matching >= 0)
    table[row, i, matching[row, i]] = 1.0
    return table


def _line_search(gradient: Floats, direction: Floats, h_direction: Floats) -> Floats:
    """Step length in [0, 1] that minimises the quadratic along ``direction``: (A, 1, 1)."""
    slope = (gradient * direction).sum((1, 2), keepdims=True)
    curvature = (direction * h_direction).sum((1, 2), keepdims=True)
    convex = curvature > TOLERANCE
    return np.where(convex, np.clip(-slope / np.where(convex, curvature, 1.0), 0.0, 1.0), 1.0)
