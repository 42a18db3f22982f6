from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from medgraph.prompting.adapters import ClipAdapter, LinearProbe, TipAdapter
from medgraph.prompting.classes import TEMPLATES, ClassTexts
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.features import encode_set
from medgraph.prompting.learners import PLOT, CoOp, Dude
from medgraph.prompting.method import Budget, ImageSet, ZeroShot

CLASSES = ClassTexts(
    ("mass", "cyst", "normal"), tuple((f"the lung shows {n}.", f"a {n}.") for n in ("mass", "cyst", "normal"))
)
FEW = Budget(steps=4, lr=0.02, batch_size=9)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def clip(tiny_model, tokenizer):
    return DualEncoder(tiny_model("clip", tokenizer), tokenizer)


def image_set(shots: int, seed: int, width: int = 12) -> ImageSet:
    """Three clusters in two views; two of the four patches know the class."""
    centres = F.normalize(torch.randn(3, width, generator=seeded()), dim=-1)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat_interleave(shots)
    pooled = centres[labels].unsqueeze(1) + 0.15 * torch.randn(3 * shots, 2, width, generator=generator)
    tokens = torch.randn(3 * shots, 2, 4, width, generator=generator)
    tokens[:, :, :2] = tokens[:, :, :2] * 0.15 + centres[labels, None, None]
    groups = [str(i) for i in range(len(labels))]
    return ImageSet(F.normalize(pooled, dim=-1), F.normalize(tokens, dim=-1), labels, groups)


TRAIN, VALIDATION, TEST = image_set(6, 1), image_set(4, 2), image_set(20, 3)


def accuracy(method) -> float:
    with torch.no_grad():
        return (method(TEST).argmax(1) == TEST.labels).float().mean().item()


def test_zero_shot_is_the_mean_of_the_templates(clip):
    logits = ZeroShot(clip, CLASSES)(TEST)
    for number, name in enumerate(CLASSES.names):
        mean = F.normalize(clip.encode_texts([template.format(name) for template in TEMPLATES]).mean(0), dim=0)
        assert_close(logits[:, number], clip.scale * TEST.pooled[:, 0] @ mean)


def test_a_context_of_words_makes_coop_these_words(clip):
    method = CoOp(clip, CLASSES, seeded(), length=2)
    words = clip.tokenizer("the lung", add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        method.contexts[0] = clip.words(words[0])
    texts = clip.encode_texts([f"the lung {name}." for name in CLASSES.names])
    assert_close(method(TEST), clip.scale * TEST.pooled[:, 0] @ texts.mT)


def test_plot_with_one_prompt_is_the_mean_over_the_patches(clip):
    """A single column takes the mass of every row, whatever the costs."""
    method = PLOT(clip, CLASSES, seeded(), prompts=1)
    expected = clip.scale * TEST.tokens[:, 0].mean(1) @ method.encode_classes()[:, 0].mT
    assert_close(method(TEST), expected)


def test_dude_reads_the_patches_of_all_views_in_any_order(clip):
    method = Dude(clip, CLASSES, seeded())
    logits = method(TEST)
    turned = ImageSet(TEST.pooled, TEST.tokens.flip(1, 2), TEST.labels, TEST.groups)
    assert_close(method(turned), logits)
    one_view = ImageSet(TEST.pooled, TEST.tokens[:, :1], TEST.labels, TEST.groups)
    assert not torch.allclose(method(one_view), logits, rtol=1e-3)


def test_the_prompts_of_dude_are_shared_names_and_own_descriptions(clip):
    method = Dude(clip, CLASSES, seeded(), prompts=2)
    prompts = method.encode_classes()
    assert prompts.shape == (3, 4, 12)
    assert_close(prompts[:, :2], CoOp.encode_classes(method))
    with torch.no_grad():
        method.own[1, 0] += 1
    changed = (method.encode_classes() - prompts).norm(dim=-1) > 1e-6
    assert changed.nonzero().tolist() == [[1, 2]]


def test_dude_with_a_hard_marginal_moves_all_mass_and_with_a_soft_one_only_what_fits(clip):
    logits = {rho: Dude(clip, CLASSES, seeded(), relaxation=rho)(TEST) for rho in (0.05, 1000.0, math.inf)}
    assert_close(logits[1000.0], logits[math.inf], rtol=0.02, atol=0.02)
    assert not torch.allclose(logits[0.05], logits[math.inf], rtol=0.02)


@pytest.mark.parametrize("learner", [CoOp, PLOT, Dude])
def test_learners_fit_their_shots_and_can_name_new_classes(clip, learner):
    method = learner(clip, CLASSES, seeded())
    before = F.cross_entropy(method(TRAIN), TRAIN.labels).item()
    method.fit(TRAIN, VALIDATION, FEW, seeded())
    assert F.cross_entropy(method(TRAIN), TRAIN.labels).item() < before
    contexts = method.contexts.clone()
    method.set_classes(ClassTexts(("lung", "image"), (("a lung.",), ("a image.",))))
    assert_close(method.contexts, contexts)
    assert method(TEST).shape == (60, 2)


@pytest.mark.parametrize("learn_keys", [False, True])
def test_adapters_learn_what_words_do_not_know(clip, learn_keys):
    method = TipAdapter(clip, CLASSES, learn_keys)
    method.fit(TRAIN, VALIDATION, FEW, seeded())
    assert accuracy(method) > max(0.9, accuracy(ZeroShot(clip, CLASSES)))
    assert method.alpha > 0


def test_tip_adapter_is_its_formula(clip):
    method = TipAdapter(clip, CLASSES)
    method.fit(TRAIN, VALIDATION, FEW, seeded())
    x, votes = TEST.pooled[0, 0], torch.zeros(3)
    for key, label in zip(TRAIN.pooled[:, 0], TRAIN.labels, strict=True):
        votes[label] += torch.exp(-method.beta * (1 - x @ key))
    assert_close(method(TEST)[0], ZeroShot(clip, CLASSES)(TEST)[0] + method.alpha * votes)


def test_the_linear_probe_separates_clusters(clip):
    method = LinearProbe(clip, CLASSES)
    method.fit(TRAIN, VALIDATION, FEW, seeded())
    assert accuracy(method) > 0.9
    assert_close(method(TEST).exp().sum(1), torch.ones(60))


def test_clip_adapter_of_ratio_zero_is_zero_shot_and_learns_otherwise(clip):
    assert_close(ClipAdapter(clip, CLASSES, seeded(), ratio=0.0)(TEST), ZeroShot(clip, CLASSES)(TEST))
    method = ClipAdapter(clip, CLASSES, seeded())
    before = F.cross_entropy(method(TRAIN), TRAIN.labels).item()
    method.fit(TRAIN, VALIDATION, FEW, seeded())
    assert F.cross_entropy(method(TRAIN), TRAIN.labels).item() < before


def test_views_are_the_image_itself_and_changes_of_it(clip):
    images = list(torch.randint(256, (3, 32, 32, 3), dtype=torch.uint8, generator=seeded()).numpy())
    made = encode_set(clip, images, [0, 1, 2], ["a", "b", "c"], views=3)
    alone = encode_set(clip, images[:1], [0], ["a"])
    assert made.tokens.shape == (3, 3, 16, 12)
    assert_close(made.tokens[:1, :1], alone.tokens)
    assert not torch.allclose(made.pooled[:, 1], made.pooled[:, 2])
    assert_close(encode_set(clip, images, [0, 1, 2], ["a", "b", "c"], views=2).pooled, made.pooled[:, :2])
