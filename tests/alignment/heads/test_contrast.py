"""ConVIRT and MGCA against their formulas, written as loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.heads.codes import balanced_codes, swapped_prediction
from medgraph.alignment.heads.convirt import ConVIRTHead
from medgraph.alignment.heads.infonce import InfoNCEHead
from medgraph.alignment.heads.mgca import MGCAHead, cross_attention_loss


def unit(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def nodes(images: torch.Tensor, texts: torch.Tensor, **fields) -> AlignmentInput:
    return AlignmentInput(NodeSet(images, **fields), {"text": NodeSet(texts, **fields)})


def one_direction(images: torch.Tensor, texts: torch.Tensor, temperature: float) -> float:
    """Equation 2 of ConVIRT, image by image."""
    total = 0.0
    for i in range(len(images)):
        scores = [math.exp(float(images[i] @ text) / temperature) for text in texts]
        total -= math.log(scores[i] / sum(scores)) / len(images)
    return total


def test_convirt_is_its_two_directions_weighted():
    images, texts = unit(5, 7), unit(5, 7).flip(0)
    expected = 0.75 * one_direction(images, texts, 0.1) + 0.25 * one_direction(texts, images, 0.1)
    head = ConVIRTHead(projection=0)
    head.setup(7)
    assert not list(head.parameters())
    assert head(nodes(images, texts)).loss.item() == pytest.approx(expected, rel=1e-5)
    assert head(nodes(3 * images, texts / 2)).loss.item() == pytest.approx(expected, rel=1e-5)


def test_clip_is_both_directions_alike_and_its_temperature_learns():
    images, texts = unit(5, 7), unit(5, 7).flip(0)
    head = InfoNCEHead(temperature=0.07, center=False)
    loss = head(nodes(images, texts)).loss
    expected = (one_direction(images, texts, 0.07) + one_direction(texts, images, 0.07)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert head.scale.log_scale.grad.abs() > 0


@pytest.mark.parametrize("make", [lambda: ConVIRTHead(projection=0), lambda: MGCAHead(num_prototypes=9)])
def test_the_order_of_the_pairs_does_not_matter(make):
    torch.manual_seed(0)
    head = make()
    head.setup(7)
    images, texts, order = unit(6, 7), unit(6, 7).roll(1, 0), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(head(nodes(images[order], texts[order])).loss, head(nodes(images, texts)).loss)


def test_a_text_that_comes_twice_is_no_negative_of_itself():
    images, texts = unit(3, 7), unit(3, 7).flip(0)
    texts[1] = texts[0]
    head = ConVIRTHead(projection=0, image_weight=1.0)
    head.setup(7)
    ids = torch.tensor([4, 4, 9])
    loss = head(AlignmentInput(NodeSet(images), {"text": NodeSet(texts, ids=ids)})).loss.item()
    rivals = [[0, 2], [1, 2], [0, 1, 2]]
    terms = [
        torch.stack([images[i] @ texts[j] / 0.1 for j in js]).logsumexp(0) - images[i] @ texts[i] / 0.1
        for i, js in enumerate(rivals)
    ]
    assert loss == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_the_token_loss_is_its_formula():
    """Equations 4 to 6 of MGCA with equal weights: attend, then find the own context among those of the sample."""
    words, patches = unit(2, 4, 5), unit(2, 3, 5)
    word_mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    patch_mask = torch.ones(2, 3, dtype=torch.bool)
    total = 0.0
    for b in range(2):
        real = words[b, word_mask[b]]
        contexts = []
        for word in real:
            weights = [math.exp(float(word @ patch) / 0.1) for patch in patches[b]]
            context = sum(w * patch for w, patch in zip(weights, patches[b], strict=True)) / sum(weights)
            contexts.append(context / context.norm())
        stacked = torch.stack(contexts)
        total += (one_direction(real, stacked, 0.1) + one_direction(stacked, real, 0.1)) / 2 / 2
    found = cross_attention_loss(words, patches, word_mask, patch_mask, 0.1)
    assert found.item() == pytest.approx(total, rel=1e-6)


def test_codes_are_sinkhorns_scaling_of_the_scores():
    scores, epsilon = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 0.3
    q = [[math.exp(float(value) / epsilon) for value in row] for row in scores]
    for _ in range(3):
        for k in range(4):
            column = sum(q[i][k] for i in range(6))
            for i in range(6):
                q[i][k] /= 4 * column
        for i in range(6):
            row = sum(q[i])
            q[i] = [value / (6 * row) for value in q[i]]
    expected = 6 * torch.tensor(q, dtype=torch.float64)
    torch.testing.assert_close(balanced_codes(scores, epsilon, 3), expected)


def test_swapped_prediction_is_its_formula():
    scores, codes = (unit(5, 3), unit(5, 3).flip(0)), (unit(5, 3).softmax(1), unit(5, 3).flip(1).softmax(1))
    total = 0.0
    for i in range(5):
        for own, other in ((0, 1), (1, 0)):
            exponentials = [math.exp(float(value) / 0.2) for value in scores[own][i]]
            logs = [math.log(value / sum(exponentials)) for value in exponentials]
            total -= sum(float(q) * log for q, log in zip(codes[other][i], logs, strict=True)) / (2 * 5)
    assert swapped_prediction(scores, codes, 0.2).item() == pytest.approx(total, rel=1e-9)
    assert swapped_prediction(scores[::-1], codes[::-1], 0.2).item() == pytest.approx(total, rel=1e-9)


def test_the_length_of_prototypes_does_not_matter():
    head = MGCAHead(num_prototypes=9)
    head.setup(7)
    pairs = nodes(unit(6, 7), unit(6, 7).roll(1, 0))
    loss = head(pairs).loss
    with torch.no_grad():
        head.prototypes.mul_(torch.rand(9, 1) + 0.5)
    torch.testing.assert_close(head(pairs).loss, loss)


def test_a_projection_below_nothing_is_refused():
    with pytest.raises(ValueError, match="projection=-1 is below its minimum 0"):
        ConVIRTHead(projection=-1)
