"""The edge term of quadratic assignment, ½ <m, H m>, as the operator H: read from the edges, or from a table.

Letters: P problems, A problems still active, B nodes, K neighbours, E = B·K edges.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from medgraph.alignment.matching import EdgeCosts, Floats, Ints, MatchingProblem, to_numpy

TABLE_NODES = 16  # graphs with at most so many nodes get H as a table of B² × B² numbers


class EdgeTerm(Protocol):
    """H of P problems; a problem number is taken modulo the number of edge sets."""

    def __call__(self, active: Ints, matching: Ints) -> Floats:
        """Apply H, the gradient of the edge term at a matching.

        Args:
            active: (A,) problem numbers.
            matching: (A, B) int64, -1 for unmatched.

        Returns:
            (A, B, B) float64.
        """
        ...

    def add_second_order(self, change: Floats, active: Ints, matching: Ints) -> None:
        """Add the edge costs that a swap of two images has beyond the gradient.

        Swapping the images of i and k changes both ends of the edge i→k at once; that term is
        Q[i→k, m(i)→m(k)] + Q[i→k, m(k)→m(i)], where those right edges exist.

        Args:
            change: (A, N, N) with N ≥ B, changed in place; symmetric in i and k.
            active: (A,) problem numbers.
            matching: (A, B) int64, -1 for unmatched.
        """
        ...


def edge_term(problem: MatchingProblem) -> EdgeTerm:
    """The faster form of the edge term of a problem with edges."""
    assert problem.edges is not None
    small = problem.unary.shape[-1] <= TABLE_NODES
    return TableTerm(problem.edges) if small else SparseTerm(problem.edges)


class TableTerm:
    """H[(i, j), (k, l)] = Q[i→k, j→l] + Q[k→i, l→j] as a table, for small graphs."""

    def __init__(self, edges: EdgeCosts) -> None:
        num_problems, n, k = edges.left.shape
        costs = edges.dense().costs.detach().cpu().flatten(1)
        tails = torch.arange(n * k) // k
        pairs = tails.unsqueeze(1) * n + tails  # (E, E): (i, j)
        heads = edges.left.cpu().view(num_problems, -1, 1) * n + edges.right.cpu().view(num_problems, 1, -1)  # (k, l)
        table = costs.new_zeros(num_problems, n**4)
        for cells in (pairs * n**2 + heads, heads * n**2 + pairs):
            table.scatter_add_(1, cells.flatten(1), costs)
        self.table, self.num_problems = table.view(-1, n, n).numpy(), num_problems

    def __call__(self, active: Ints, matching: Ints) -> Floats:
        """See `EdgeTerm`."""
        n = matching.shape[1]
        rows = self.table[self._rows(active, np.arange(n), matching)]  # (A, B, B, B)
        if (matching < 0).any():
            rows = rows * (matching >= 0)[:, :, None, None]
        total: Floats = rows.sum(1, dtype=np.float64)
        return total

    def add_second_order(self, change: Floats, active: Ints, matching: Ints) -> None:
        """See `EdgeTerm`."""
        n = matching.shape[1]
        nodes, images = np.arange(n)[:, None], matching[:, None, :]
        for own, other in ((matching[:, :, None], images), (images, matching[:, :, None])):
            costs = self.table[self._rows(active, nodes, own), np.arange(n), other]  # H[(i, own), (k, other)]
            if (matching < 0).any():
                costs = costs * ((matching >= 0)[:, :, None] & (matching >= 0)[:, None, :])
            change[:, :n, :n] += costs

    def _rows(self, active: Ints, nodes: Ints, images: Ints) -> Ints:
        """Where the rows of (node, image) pairs lie in the table; images (A, …)."""
        n = self.table.shape[-1]
        base = (active % self.num_problems * n**2).reshape(-1, *[1] * (images.ndim - 1))
        rows: Ints = base + nodes * n + np.maximum(images, 0)
        return rows


class SparseTerm:
    """H in O(B·K²) reads of the edge costs.

    Only edge pairs of which one end is matched contribute, so the (B·K)² costs are never touched as a whole.
    """

    def __init__(self, edges: EdgeCosts) -> None:
        self.left = to_numpy(edges.left).astype(np.int64, copy=False)
        self.right = to_numpy(edges.right).astype(np.int64, copy=False)
        self.read = edges.reader()
        num_problems, self.num_nodes, self.k = self.left.shape
        # Right edges sorted by (problem, head): those into node j are a slice.
        heads = (np.arange(num_problems)[:, None] * self.num_nodes + self.right.reshape(num_problems, -1)).reshape(-1)
        self.incoming = np.argsort(heads, kind="stable") % (self.num_nodes * self.k)
        self.incoming_tail = self.incoming // self.k
        self.in_degree = np.bincount(heads, minlength=num_problems * self.num_nodes)
        self.in_start = np.cumsum(self.in_degree) - self.in_degree

    def __call__(self, active: Ints, matching: Ints) -> Floats:
        """See `EdgeTerm`."""
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
        """See `EdgeTerm`."""
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
