from __future__ import annotations

import torch

from medgraph.alignment.heads.infonce import InfoNCEHead
from medgraph.alignment.heads.none import NoAlignmentHead
from medgraph.alignment.toy import ToyWorld, align_toy_world, noisy_views


def test_nothing_is_learnt_without_a_loss():
    before, after = (align_toy_world(NoAlignmentHead(), steps=steps) for steps in (0, 20))
    assert after.recall == before.recall < 0.1


def test_a_result_depends_on_its_seed_only():
    first = align_toy_world(InfoNCEHead(), seed=3, steps=10)
    state = torch.get_rng_state()
    again = align_toy_world(InfoNCEHead(), seed=3, steps=10)
    assert (first.recall, first.match_accuracy) == (again.recall, again.match_accuracy)
    assert torch.equal(torch.get_rng_state(), state)


def test_entities_are_codes_of_the_shared_latent():
    world = ToyWorld(seed=1)
    sizes = {name: len(codes.unique()) for name, codes in world.entities.items()}
    assert sizes == {"modality": 2, "area": 8, "label": 8, "task": 2}
    means = torch.stack([world.views[0][world.entities["modality"] == code].mean(0) for code in (0, 1)])
    assert (means[0] - means[1]).norm() > 1


def test_noisy_views_are_the_same_nodes_and_their_groups_lie_together():
    clean, noisy = noisy_views(noise=0.0), noisy_views(noise=0.5)
    image, answer, extended = (graph.pooled for graph in clean.graphs().values())
    assert torch.equal(image, answer)
    assert torch.equal(image, extended)
    gap = noisy.image.pooled - noisy.texts["answer"].pooled
    assert 0.5 < gap.std() < 0.9  # √2 · 0.5
    same = noisy.entities["modality"][:, None] == noisy.entities["modality"]
    distances = torch.cdist(image, image)
    assert distances[same & ~torch.eye(16, dtype=torch.bool)].mean() < distances[~same].mean()
