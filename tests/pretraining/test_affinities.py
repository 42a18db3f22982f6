import pytest
import torch
import torch.nn.functional as F

from medgraph.pretraining.affinities import cell_positions, local_affinity


def crops(seed, pairs=2, nodes=3, grid=2, width=4):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(pairs, nodes, 2, generator=generator) * 0.5
    size = 0.2 + 0.3 * torch.rand(pairs, nodes, 2, generator=generator)
    flips = torch.rand(pairs, nodes, generator=generator) < 0.5
    cells = F.normalize(torch.randn(pairs, nodes, grid**2, width, generator=generator), dim=-1)
    return cells, cell_positions(torch.cat([corner, corner + size], -1), flips, grid)


def slow_affinity(left, right, left_at, right_at, best):
    """The definition, cell by cell: one map against one map."""

    def one_way(a, b, a_at, b_at):
        placed = [min((torch.dist(a_at[p], b_at[q]).item(), q) for q in range(len(b))) for p in range(len(a))]
        nearest = sorted((distance, (a[p] @ b[q]).item()) for p, (distance, q) in enumerate(placed))[:best]
        alike = sorted((max((a[p] @ b[q]).item() for q in range(len(b))) for p in range(len(a))), reverse=True)[:best]
        return (sum(cosine for _, cosine in nearest) / best + sum(alike) / best) / 2

    return (one_way(left, right, left_at, right_at) + one_way(right, left, right_at, left_at)) / 2


@pytest.mark.parametrize("best", [1, 3, 4])
def test_local_affinities_equal_their_definition(best):
    (left, left_at), (right, right_at) = crops(0), crops(1)
    found = local_affinity(left, right, left_at, right_at, best)
    for p in range(2):
        for i in range(3):
            for a in range(3):
                expected = slow_affinity(left[p, i], right[p, a], left_at[p, i], right_at[p, a], best)
                assert found[p, i, a].item() == pytest.approx(expected, abs=1e-6)


def test_local_affinities_do_not_depend_on_which_view_comes_first_or_on_the_order_of_images():
    (left, left_at), (right, right_at) = crops(2), crops(3)
    found = local_affinity(left, right, left_at, right_at, 3)
    torch.testing.assert_close(local_affinity(right, left, right_at, left_at, 3), found.mT)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(local_affinity(left[:, order], right, left_at[:, order], right_at, 3), found[:, order])


def test_the_same_crop_mirrored_is_still_the_same():
    box = torch.tensor([0.1, 0.2, 0.7, 0.9]).expand(1, 1, 4)
    cells = F.normalize(torch.randn(1, 1, 9, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    mirrored = cells.unflatten(2, (3, 3)).flip(3).flatten(2, 3)
    plain, flipped = (cell_positions(box, torch.tensor([[flip]]), 3) for flip in (False, True))
    torch.testing.assert_close(local_affinity(cells, mirrored, plain, flipped, 9), torch.ones(1, 1, 1))
    assert local_affinity(cells, mirrored, plain, plain, 9).item() < 0.9
