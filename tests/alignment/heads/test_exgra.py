from __future__ import annotations

import pytest
import torch

from medgraph.alignment.chunks import in_chunks
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.alignment.heads.exgra_options import PRESETS
from medgraph.alignment.heads.none import NoAlignmentHead


def build(dim: int = 8, **options) -> ExGraHead:
    torch.manual_seed(0)
    head = ExGraHead(**options)
    head.setup(dim)
    return head


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_run_and_report(preset, make_input):
    head = build(preset=preset)
    nodes = make_input(num_nodes=8)
    output = head(nodes)
    assert 0 <= output.loss.item() <= 2
    assert {"match_accuracy", "shuffled_accuracy", "unmatched", "cos_diag", "cos_off"} <= set(output.terms)
    output.loss.backward()
    assert nodes.image.pooled.grad.abs().sum() > 0


def test_options_override_the_preset_and_are_remembered():
    head = ExGraHead(preset="official", temperature=0.5, encoder="none")
    assert head.options()["temperature"] == 0.5
    assert head.options()["edge_weight"] == PRESETS["official"]["edge_weight"]
    assert ExGraHead(**head.options()).options() == head.options()


@pytest.mark.parametrize("target", ["pairwise", "leave_one_out", "barycenter"])
@pytest.mark.parametrize("edge_weight", [0.0, 0.2])
@pytest.mark.parametrize("encoder", ["none", "gcn"])
def test_loss_does_not_depend_on_the_order_of_samples(target, edge_weight, encoder, make_input):
    head = build(target=target, edge_weight=edge_weight, encoder=encoder, noise=0.0, num_samples=1)
    nodes = make_input(num_nodes=7)
    loss = head(nodes).loss
    loss.backward()
    gradient = nodes.image.pooled.grad
    order = torch.randperm(7)
    moved = make_input(num_nodes=7)
    for graph in moved.graphs().values():
        graph.pooled = graph.pooled.detach()[order].requires_grad_()
    again = head(moved).loss
    again.backward()
    torch.testing.assert_close(again, loss)
    torch.testing.assert_close(moved.image.pooled.grad, gradient[order], rtol=1e-4, atol=1e-6)


def test_perfect_views_are_matched_and_leave_no_loss(make_input):
    nodes = make_input(num_nodes=9)
    for text in nodes.texts.values():
        text.pooled = nodes.image.pooled.detach().clone()
    output = build(noise=0.0)(nodes)
    assert output.loss.item() == 0
    assert output.terms["match_accuracy"].item() == 1


def accuracy_of_unrelated_views(make_input, **options) -> float:
    runs = [build(dim=64, **options)(make_input(num_nodes=16, dim=64, seed=s)).terms for s in range(6)]
    return sum(terms["match_accuracy"].item() for terms in runs) / 6


def test_the_barycenter_leaks_and_leave_one_out_does_not(make_input):
    """Unrelated views match the barycenter that contains them; without themselves in it they are at chance (1/16)."""
    options = {"encoder": "none", "edge_weight": 0.1}
    assert accuracy_of_unrelated_views(make_input, target="barycenter", **options) > 0.9
    assert accuracy_of_unrelated_views(make_input, target="leave_one_out", **options) < 0.2
    assert accuracy_of_unrelated_views(make_input, target="pairwise", **options) < 0.2


def test_the_leak_test_sees_it(make_input):
    nodes = make_input(num_nodes=16, dim=64)
    assert build(64, target="barycenter", encoder="none")(nodes).terms["shuffled_accuracy"] > 0.9
    assert build(64, encoder="none")(nodes).terms["shuffled_accuracy"] < 0.4


def test_the_largest_view_owns_the_barycenter_unless_nodes_are_normalised(make_input):
    nodes = make_input(num_nodes=12, dim=32)
    nodes.image.pooled = 100 * nodes.image.pooled.detach()
    options = {"target": "barycenter", "encoder": "none"}
    raw = build(32, standardize_nodes=False, **options).pairs(
        torch.stack([graph.pooled for graph in nodes.graphs().values()]), [None] * 3
    )
    cosine = torch.nn.functional.cosine_similarity(raw.nodes[0], raw.nodes[3], dim=-1)
    assert cosine.min() > 0.99


def test_duplicates_are_right_matches(make_input):
    ids = torch.tensor([0, 1, 2, 0, 1, 2])
    nodes = make_input(num_nodes=6, ids=ids)
    for graph in nodes.graphs().values():
        graph.pooled = nodes.image.pooled.detach()[[0, 1, 2, 0, 1, 2]]
    head = build(noise=0.0, num_samples=1)
    assert head(nodes).loss.item() == 0


def test_gradients_agree_where_they_must(make_input):
    """I-MLE with a large λ has the closed form's target; black box is I-MLE without noise."""
    grads = {}
    for name, options in {
        "closed": {"gradient": "closed_form", "lam": 1e4},
        "imle": {"gradient": "imle", "lam": 1e4},
        "closed, no noise": {"gradient": "closed_form", "lam": 1e4, "noise": 0.0, "num_samples": 1},
        "blackbox": {"gradient": "blackbox", "lam": 1e4},
    }.items():
        nodes = make_input()
        build(edge_weight=0.1, **options)(nodes).loss.backward()
        grads[name] = nodes.image.pooled.grad
    torch.testing.assert_close(grads["closed"], grads["imle"])
    torch.testing.assert_close(grads["closed, no noise"], grads["blackbox"])


def test_shared_edges_solve_both_directions(make_input):
    head = build(preset="official")
    pairs = head.pairs(torch.randn(3, 6, 8), [None] * 3)
    assert pairs.left == [0, 1, 2, 3, 4, 5]
    assert pairs.right == [3, 4, 5, 0, 1, 2]
    problem, _ = head.problem(pairs, None)
    assert torch.equal(problem.edges.left, problem.edges.right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "offical"}, "preset='offical' is unknown"),
        ({"target": "mean"}, "target='mean'"),
        ({"k": 0}, "k=0 is below"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"temperature": 0.0}, "temperature=0.0 must be positive"),
        ({"noise": -1.0}, "noise=-1.0"),
        ({"graph_dim": -1}, "graph_dim=-1 is below"),
        ({"edge_warmup": 100}, "edge_warmup=100 warms up an edge term that edge_weight=0.0"),
        ({"edge_warmup": 9, "edge_weight": 0.1, "solver": "lap"}, "solver='lap' leave out"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ExGraHead(**options)


@pytest.mark.parametrize("gradient", ["imle", "aimle", "blackbox", "straight_through", "entropic"])
@pytest.mark.parametrize("edge_weight", [0.0, 0.1])
def test_a_step_along_every_gradient_brings_the_own_pairs_closer(gradient, edge_weight, make_input):
    nodes = make_input(num_nodes=8, dim=16)
    head = build(16, gradient=gradient, edge_weight=edge_weight, encoder="none")
    output = head(nodes)
    output.loss.backward()
    graphs = nodes.graphs().values()
    assert all(torch.isfinite(graph.pooled.grad).all() and graph.pooled.grad.abs().sum() > 0 for graph in graphs)
    for graph in graphs:
        graph.pooled = (graph.pooled - graph.pooled.grad / graph.pooled.grad.norm()).detach()
    assert head(nodes).terms["cos_diag"] > output.terms["cos_diag"]


def test_adaptive_lambda_falls_while_targets_differ_a_lot(make_input):
    head = build(gradient="aimle")
    before = head.matching_loss.adaptive.beta.item()
    head(make_input(num_nodes=8))
    assert head.matching_loss.adaptive.beta.item() < before
    assert "matching_loss.adaptive.beta" in head.state_dict()
    head.eval()
    beta = head.matching_loss.adaptive.beta.clone()
    head(make_input(num_nodes=8))
    assert torch.equal(head.matching_loss.adaptive.beta, beta)


def test_sum_of_gamma_noise_is_another_noise(make_input):
    losses = {kind: build(noise_kind=kind)(make_input()).loss.item() for kind in ("gumbel", "sum_of_gamma")}
    assert all(0 <= loss <= 2 for loss in losses.values())


def test_a_batch_in_chunks_is_the_average_of_its_graphs(make_input):
    """Graphs of different chunks do not see each other."""
    options = {"gradient": "blackbox", "lam": 6.0, "diagnostics": False}
    whole = make_input(num_nodes=10)
    loss = build(graph_size=5, **options)(whole).loss
    loss.backward()
    parts = []
    for rows in (slice(0, 5), slice(5, 10)):
        part = make_input(num_nodes=10)
        for graph in part.graphs().values():
            graph.pooled = graph.pooled.detach()[rows].requires_grad_()
        parts.append((build(**options)(part).loss, part))
    torch.testing.assert_close(loss, (parts[0][0] + parts[1][0]) / 2)
    (0.5 * parts[1][0]).backward()
    torch.testing.assert_close(whole.image.pooled.grad[5:], parts[1][1].image.pooled.grad)


def test_chunks_are_even(make_input):
    sizes = []

    def count(nodes):
        sizes.append(len(nodes.texts["answer"].mask))
        return NoAlignmentHead()(nodes)

    in_chunks(count, make_input(num_nodes=11, tokens=2, ids=torch.arange(11)), graph_size=4)
    assert sizes == [4, 4, 3]


def test_forgetting_setup_is_an_error(make_input):
    with pytest.raises(RuntimeError, match="setup"):
        ExGraHead()(make_input())


def test_edges_warm_up_linearly_and_a_resumed_head_continues(make_input):
    options = {"edge_weight": 0.4, "edge_warmup": 4, "encoder": "none", "noise": 0.0, "num_samples": 1}
    head = build(**options)
    weights = []
    for step in range(6):
        weights.append(head.current_edge_weight())
        head(make_input(seed=step))
        head.eval()
        head(make_input(seed=step))  # validation does not count
        head.train()
        if step == 1:
            state, head = head.state_dict(), build(**options)
            head.load_state_dict(state)
    assert weights == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert (
        build(**options)(make_input()).loss
        == build(**options | {"edge_weight": 0.0, "edge_warmup": 0})(make_input()).loss
    )  # the first batch has no edges yet


@pytest.mark.parametrize("options", [{"encoder": "gcn"}, {"encoder": "official"}, {"encoder": "none"}])
def test_nodes_are_projected_before_neighbours_and_encoder(options, make_input):
    head = build(dim=8, graph_dim=3, edge_weight=0.1, **options)
    nodes = make_input(num_nodes=7)
    views = torch.stack([graph.pooled for graph in nodes.graphs().values()])
    assert head.pairs(views, [None] * 3).nodes.shape == (6, 7, 3)
    head(nodes).loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    assert all(graph.pooled.grad.abs().sum() > 0 for graph in nodes.graphs().values())


def test_a_low_graph_dimension_makes_real_widths_cheap():
    head = build(dim=4096, graph_dim=128)
    assert sum(parameter.numel() for parameter in head.parameters()) == 4096 * 128 + 2 * (128 * 128 + 128)
