import dataclasses

import pytest
import torch
import torch.nn.functional as F

from medgraph.alignment.graph import knn
from medgraph.alignment.matching import objective
from medgraph.pretraining.graph_matching import GraphMatching
from medgraph.pretraining.losses import EncodedViews
from medgraph.pretraining.options import MatchingOptions

SMALL = MatchingOptions(graph_size=5, k=2, noise=0.0, local_grid=2, temperature=1.0, residual=False, num_samples=1)


def encoded(seed=0, views=2, images=5, ids=None, alike=0.5):
    """Views that share a part of their features."""
    generator = torch.Generator().manual_seed(seed)

    def nodes(*shape):
        shared = torch.randn(1, images, *shape, generator=generator)
        return alike * shared + (1 - alike) * torch.randn(views, images, *shape, generator=generator)

    corner = torch.rand(views, images, 2, generator=generator) * 0.4
    return EncodedViews(
        projected=nodes(8).requires_grad_(),
        maps=nodes(4, 6).requires_grad_(),
        boxes=torch.cat([corner, corner + 0.5], -1),
        flips=torch.rand(views, images, generator=generator) < 0.5,
        image_ids=torch.arange(images) if ids is None else torch.tensor(ids),
        generator=torch.Generator().manual_seed(seed),
    )


def permuted(views, order):
    fields = {name: getattr(views, name)[:, order] for name in ("projected", "maps", "boxes", "flips")}
    return dataclasses.replace(views, **fields, image_ids=views.image_ids[order])


def test_the_objective_is_the_sum_of_affinities_of_nodes_and_edges():
    torch.manual_seed(0)
    loss, views = GraphMatching(8, dataclasses.replace(SMALL, alpha=1.0)), encoded()
    problem, _ = loss.problem(views)
    matching = torch.tensor([2, 0, 1, 4, 3])
    neighbors = knn(views.projected, 2)
    left, right = loss.graph_encoder(views.projected, neighbors)
    total = sum(F.cosine_similarity(left[i], right[matching[i]], dim=0) for i in range(5))
    for i in range(5):
        for k in neighbors[0, i].tolist():
            a, b = matching[i], matching[k]
            if b in neighbors[1, a]:
                total = total + F.cosine_similarity(left[i] - left[k], right[a] - right[b], dim=0)
    torch.testing.assert_close(objective(problem, matching[None])[0], -total)


def test_the_right_matching_costs_nothing_and_shuffled_views_do():
    torch.manual_seed(0)
    loss, views = GraphMatching(8, dataclasses.replace(SMALL, residual=True)), encoded(alike=1.0)
    value, terms = loss(views)
    assert value.item() == 0
    assert terms["match_accuracy"] == 1
    wrong = views.projected[1].roll(1, 0)
    value, _ = loss(dataclasses.replace(views, projected=torch.stack([views.projected[0], wrong])))
    assert value.item() > 0.5


def test_the_loss_does_not_depend_on_the_order_of_images_in_a_graph():
    torch.manual_seed(0)
    loss, views = GraphMatching(8, SMALL), encoded(alike=0.3)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(loss(permuted(views, order))[0], loss(views)[0])
    left, right = loss.problem(views)[0].unary, loss.problem(permuted(views, order))[0].unary
    torch.testing.assert_close(right, left[:, order][:, :, order])


def test_a_batch_is_the_mean_of_its_graphs():
    torch.manual_seed(0)
    loss, views = GraphMatching(8, SMALL), encoded(images=10, alike=0.2)
    halves = [permuted(views, torch.arange(5) + start) for start in (0, 5)]
    torch.testing.assert_close(loss(views)[0], torch.stack([loss(half)[0] for half in halves]).mean())


def test_small_crops_are_matched_to_both_large_ones():
    torch.manual_seed(0)
    loss, views = GraphMatching(8, SMALL), encoded(views=3, alike=0.2)
    pairs = []
    for v, w in ((0, 1), (0, 2), (1, 2)):
        fields = {name: getattr(views, name)[[v, w]] for name in ("projected", "maps", "boxes", "flips")}
        pairs.append(loss(dataclasses.replace(views, **fields))[0])
    torch.testing.assert_close(loss(views)[0], torch.stack(pairs).mean())


def test_the_same_image_twice_is_right_either_way():
    loss = GraphMatching(8, SMALL)
    positives = loss.positives(torch.tensor([7, 8, 7, 9, 6]), 2)
    assert positives.shape == (2, 5, 5)
    assert positives[0, 0].tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(("change", "unused"), [({"alpha": 1.0}, "maps"), ({}, None)])
def test_gradients_pull_views_of_an_image_together(change, unused):
    torch.manual_seed(0)
    options = dataclasses.replace(SMALL, noise=1.0, num_samples=8, **change)
    loss, views = GraphMatching(8, options), encoded(alike=0.0)
    loss(views)[0].backward()
    assert views.projected.grad.abs().sum() > 0
    if unused:
        assert getattr(views, unused).grad is None
    else:
        assert views.maps.grad.abs().sum() > 0
    with torch.no_grad():
        before = loss.problem(views)[1].diagonal(dim1=1, dim2=2).mean()
        step = views.projected - 0.5 * views.projected.grad / views.projected.grad.norm()
        after = loss.problem(dataclasses.replace(views, projected=step))[1].diagonal(dim1=1, dim2=2).mean()
    assert after > before


def test_ablations_leave_out_what_they_say():
    views = encoded()
    no_messages = GraphMatching(8, dataclasses.replace(SMALL, message_passing=False, alpha=1.0))
    assert not list(no_messages.parameters())
    expected = F.normalize(views.projected[0], dim=-1) @ F.normalize(views.projected[1], dim=-1).T
    torch.testing.assert_close(no_messages.problem(views)[1][0], expected)
    assert GraphMatching(8, dataclasses.replace(SMALL, edge_weight=0.0)).problem(views)[0].edges is None


def test_large_feature_maps_are_averaged_before_they_are_compared():
    views = encoded()
    cells, boxes = GraphMatching(8, dataclasses.replace(SMALL, local_grid=1)).cells(views)
    torch.testing.assert_close(cells[:, :, 0], F.normalize(views.maps.mean(2), dim=-1))
    assert (boxes[views.flips] == views.boxes[views.flips][:, [2, 1, 0, 3]]).all()
