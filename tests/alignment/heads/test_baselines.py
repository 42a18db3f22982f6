"""Formulas of the rival losses against slow references."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from medgraph.alignment.heads.base import tokens_of
from medgraph.alignment.heads.codes import balanced_codes, swapped_prediction
from medgraph.alignment.heads.convirt import ConVIRTHead
from medgraph.alignment.heads.logra import LoGraHead
from medgraph.alignment.heads.mgca import MGCAHead, cross_attention_loss
from medgraph.alignment.heads.ot import TokenOTHead
from medgraph.alignment.heads.siglip import SigLIPHead
from medgraph.alignment.heads.soft_infonce import SoftInfoNCEHead
from medgraph.alignment.heads.surgvlp import SurgVLPHead, mil_nce
from medgraph.alignment.heads.uot import TokenUOTHead
from medgraph.alignment.heads.vlap import VLAPHead
from medgraph.alignment.losses import same_content


def cosines(nodes, name="answer"):
    return F.normalize(nodes.image.pooled.detach(), dim=-1) @ F.normalize(nodes.texts[name].pooled.detach(), dim=-1).T


def test_siglip_is_its_formula(make_input):
    nodes = make_input(num_nodes=4, texts=("answer",))
    scores = cosines(nodes) / 0.5 - 2.0
    expected = 0.0
    for i in range(4):
        for j in range(4):
            sign = 1 if i == j else -1
            expected += math.log(1 + math.exp(-sign * scores[i, j].item())) / 4
    assert SigLIPHead(temperature=0.5, bias=-2.0)(nodes).loss.item() == pytest.approx(expected, rel=1e-5)


def test_siglip_leaves_duplicates_out(make_input):
    nodes = make_input(num_nodes=2, texts=("answer",), ids=torch.tensor([3, 3]))
    own = -F.logsigmoid(cosines(nodes).diagonal() / 0.1 - 10).mean()
    torch.testing.assert_close(SigLIPHead()(nodes).loss.detach(), own)


def test_soft_targets_are_a_mixture(make_input):
    nodes = make_input(num_nodes=5, texts=("answer",))
    image, text = (F.normalize(g.pooled.detach() - g.pooled.detach().mean(0), dim=-1) for g in nodes.graphs().values())
    target = 0.7 * torch.eye(5) + 0.3 * (text @ text.T / 0.1).softmax(-1)
    logits = image @ text.T / 0.1
    expected = -0.5 * ((target * logits.log_softmax(-1)).sum(-1) + (target * logits.T.log_softmax(-1)).sum(-1)).mean()
    torch.testing.assert_close(SoftInfoNCEHead()(nodes).loss.detach(), expected)


def test_convirt_weighs_the_directions(make_input):
    nodes = make_input(num_nodes=4, texts=("answer",))
    losses = []
    for weight in (1.0, 0.0, 0.75):
        torch.manual_seed(0)
        head = ConVIRTHead(image_weight=weight, projection=16)
        head.setup(8)
        losses.append(head(nodes).loss.item())
    assert losses[0] != pytest.approx(losses[1])
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], rel=1e-5)


def test_mil_nce_accepts_any_text_of_the_bag():
    logits = torch.tensor([[[9.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 9.0]]])  # each image fits one of its two texts
    same = same_content(2)
    expected = -math.log((math.exp(9) + 1) / (math.exp(9) + 3))
    assert mil_nce(logits, same).item() == pytest.approx(expected, rel=1e-2)


def test_surgvlp_with_one_text_is_infonce(make_input):
    terms = SurgVLPHead()(make_input(texts=("answer",))).terms
    assert terms["mil_nce"].item() == 0
    assert terms["infonce"].item() > 0


@pytest.mark.parametrize("head", [TokenOTHead, TokenUOTHead])
def test_padding_does_not_matter(head, make_input):
    nodes = make_input(num_nodes=3, tokens=5, texts=("answer",))
    loss = head()(nodes).loss
    for graph in nodes.graphs().values():
        graph.tokens = graph.tokens.detach().masked_fill(~graph.mask.unsqueeze(-1), 7.0)
    torch.testing.assert_close(head()(nodes).loss, loss)


def test_a_node_without_tokens_is_its_own_token(make_input):
    tokens, mask = tokens_of(make_input(num_nodes=3).image)
    assert tokens.shape == (3, 1, 8)
    assert mask.all()


def test_codes_are_balanced_and_follow_the_prior():
    scores = torch.randn(64, 4, dtype=torch.float64)
    codes = balanced_codes(scores, epsilon=0.5, iterations=200)
    torch.testing.assert_close(codes.sum(1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(codes.mean(0), torch.full((4,), 0.25, dtype=torch.float64))
    prior = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    torch.testing.assert_close(balanced_codes(scores, 0.5, 200, prior).mean(0), prior)


def test_swapped_prediction_is_the_entropy_where_both_sides_agree():
    scores = torch.randn(5, 3)
    codes = scores.softmax(1)
    entropy = -(codes * codes.log()).sum(1).mean()
    torch.testing.assert_close(swapped_prediction((scores, scores), (codes, codes), 1.0), entropy)


def test_token_loss_ignores_padding_and_rewards_distinct_matches():
    words = F.normalize(torch.eye(4)[None], dim=-1)
    mask = torch.tensor([[True, True, True, False]])
    sharp = cross_attention_loss(words, words, mask, mask, 0.1)
    assert sharp < 0.01
    other = words.clone()
    other[0, 3] = 5.0
    torch.testing.assert_close(cross_attention_loss(other, other, mask, mask, 0.1), sharp)
    assert cross_attention_loss(words, words[:, :1].expand(1, 4, 4), mask, mask, 0.1) > 1.0


def test_mgca_adds_up_its_terms(make_input):
    nodes = make_input(num_nodes=5, tokens=3)
    parts = []
    for weights in ((1.0, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, 0.0, 0.5), (1.0, 0.7, 0.5)):
        torch.manual_seed(0)
        head = MGCAHead(*weights, num_prototypes=10)
        head.setup(8)
        parts.append(head(nodes).loss.item())
    assert min(parts[:3]) > 0
    assert sum(parts[:3]) == pytest.approx(parts[3], rel=1e-5)


def test_vlap_takes_the_words_of_a_model(make_input):
    head = VLAPHead()
    head.setup(8)
    anchors = head(make_input()).loss
    head.set_words(torch.randn(20, 8), torch.arange(1, 21))
    assert head.words.shape == (20, 8)
    assert head.prior.sum().item() == pytest.approx(1.0)
    assert head(make_input()).loss != anchors


def test_logra_matches_all_pairs_of_views():
    head = LoGraHead(encoder="none")
    pairs = head.pairs(torch.randn(3, 6, 8), [None] * 3)
    assert list(zip(pairs.left, pairs.right, strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert LoGraHead(**head.options()).options() == head.options()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftInfoNCEHead(softness=2.0), "softness=2.0"),
        (lambda: MGCAHead(epsilon=0.0), "epsilon=0.0"),
        (lambda: MGCAHead(num_prototypes=1), "num_prototypes=1"),
        (lambda: VLAPHead(temperature=0.0), "temperature=0.0"),
        (lambda: SigLIPHead(temperature=0.0), "temperature=0.0"),
        (lambda: ConVIRTHead(image_weight=-1.0), "image_weight=-1.0"),
        (lambda: ConVIRTHead(temperature=0.0), "temperature=0.0"),
        (lambda: TokenOTHead(epsilon=0.0), "epsilon=0.0"),
        (lambda: TokenUOTHead(mass_penalty=0.0), "mass_penalty=0.0"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
