import math

import pytest
import torch
import torch.nn.functional as F

from medgraph.pretraining.affinities import local_affinity, oriented_boxes


def crops(seed, pairs=2, nodes=3, grid=2, width=4):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(pairs, nodes, 2, generator=generator) * 0.5
    size = 0.2 + 0.3 * torch.rand(pairs, nodes, 2, generator=generator)
    flips = torch.rand(pairs, nodes, generator=generator) < 0.5
    cells = F.normalize(torch.randn(pairs, nodes, grid**2, width, generator=generator), dim=-1)
    return cells, oriented_boxes(torch.cat([corner, corner + size], -1), flips)


def centres(box, grid):
    """Where the cells of an oriented box lie in its image, row by row."""
    start, end = box.split(2)
    steps = (torch.arange(grid) + 0.5) / grid
    return torch.stack([start + (end - start) * torch.stack([x, y]) for y in steps for x in steps])


def slow_affinity(left, left_box, right, right_box, best):
    """The definition, cell by cell: one map against one map."""

    def one_way(a, b, a_at, b_at):
        placed = [min((torch.dist(a_at[p], b_at[q]).item(), q) for q in range(len(b))) for p in range(len(a))]
        nearest = sorted((distance, p, q) for p, (distance, q) in enumerate(placed))[:best]
        alike = sorted((max(a[p] @ b[q] for q in range(len(b))) for p in range(len(a))), reverse=True)[:best]
        return (sum(a[p] @ b[q] for _, p, q in nearest) / best + sum(alike) / best) / 2

    left_at, right_at = (centres(box, math.isqrt(len(left))) for box in (left_box, right_box))
    return (one_way(left, right, left_at, right_at) + one_way(right, left, right_at, left_at)) / 2


@pytest.mark.parametrize(("grid", "best"), [(1, 1), (2, 1), (2, 3), (2, 9), (3, 5)])
def test_local_affinities_and_their_gradients_equal_the_definition(grid, best):
    (left, left_boxes), (right, right_boxes) = crops(0, grid=grid), crops(1, grid=grid)
    left.requires_grad_()
    found = local_affinity(left, left_boxes, right, right_boxes, best)
    expected = torch.stack([
        slow_affinity(left[p, i], left_boxes[p, i], right[p, a], right_boxes[p, a], min(best, grid**2))
        for p in range(2) for i in range(3) for a in range(3)
    ]).view(2, 3, 3)  # fmt: skip
    torch.testing.assert_close(found, expected)
    weights = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(2))
    gradients = [torch.autograd.grad((weights * table).sum(), left)[0] for table in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_local_affinities_do_not_depend_on_which_view_comes_first_or_on_the_order_of_images():
    (left, left_boxes), (right, right_boxes) = crops(2), crops(3)
    found = local_affinity(left, left_boxes, right, right_boxes, 3)
    torch.testing.assert_close(local_affinity(right, right_boxes, left, left_boxes, 3), found.mT)
    order = torch.tensor([2, 0, 1])
    shuffled = local_affinity(left[:, order], left_boxes[:, order], right, right_boxes, 3)
    torch.testing.assert_close(shuffled, found[:, order])


def test_the_same_crop_mirrored_is_still_the_same():
    box = torch.tensor([0.1, 0.2, 0.7, 0.9]).expand(1, 1, 4)
    cells = F.normalize(torch.randn(1, 1, 9, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    mirrored = cells.unflatten(2, (3, 3)).flip(3).flatten(2, 3)
    plain, flipped = (oriented_boxes(box, torch.tensor([[flip]])) for flip in (False, True))
    torch.testing.assert_close(local_affinity(cells, plain, mirrored, flipped, 9), torch.ones(1, 1, 1))
    assert local_affinity(cells, plain, mirrored, plain, 9).item() < 0.9


def test_pairs_without_a_gradient_get_none():
    (left, left_boxes), (right, right_boxes) = crops(0), crops(1)
    left.requires_grad_()
    found = local_affinity(left, left_boxes, right, right_boxes, 2)
    (nothing,) = torch.autograd.grad(found, left, torch.zeros(2, 3, 3), retain_graph=True)
    assert not nothing.any()
    found[1, 2, 0].backward()
    assert left.grad.flatten(2).any(-1).nonzero().tolist() == [[1, 2]]
