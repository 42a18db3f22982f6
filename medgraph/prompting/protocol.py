"""The few-shot protocol: every method on the same draws with the same budget, over all classes and from base to new.

Letters: B images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from medgraph.prompting.adapters import ClipAdapter, LinearProbe, TipAdapter
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.draw import Task, draw
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.learners import PLOT, CoOp, Dude
from medgraph.prompting.method import Budget, FewShotMethod, ImageSet, ZeroShot

Predictions = dict[str, list[int]]
"""Predicted class of every test image by set: ``all``, or ``base`` and ``new``, whose classes count from 0."""

METHODS: dict[str, Callable[[DualEncoder, ClassTexts, torch.Generator], FewShotMethod]] = {
    "zero_shot": lambda encoder, classes, _: ZeroShot(encoder, classes),
    "linear_probe": lambda encoder, classes, _: LinearProbe(encoder, classes),
    "coop": CoOp,
    "plot": PLOT,
    "clip_adapter": ClipAdapter,
    "tip_adapter": lambda encoder, classes, _: TipAdapter(encoder, classes),
    "tip_adapter_f": lambda encoder, classes, _: TipAdapter(encoder, classes, learn_keys=True),
    "dude": Dude,
}
"""Methods by name; each is made of encoder, classes and the generator of its start."""

BATCH = 32
"""Images that are classified at once."""


@dataclass(frozen=True)
class Protocol:
    """A task whose images are features, and what every method gets.

    Attributes:
        task: classes and images.
        encoder: frozen.
        texts: of all classes.
        sets: of each part of the task, in the order of its images.
        budget: of every method.
        max_validation: validation images a class, at most as many as shots.
    """

    task: Task
    encoder: DualEncoder
    texts: ClassTexts
    sets: Mapping[str, ImageSet]
    budget: Budget
    max_validation: int

    def all_classes(self, method: str, shots: int, seed: int) -> Predictions:
        """Few-shot classification: fit to all classes, predict all test images.

        Args:
            method: a key of `METHODS`.
            shots: images a class.
            seed: of the draw of images, the start and the batches.
        """
        fitted = self._fit(method, range(len(self.task.names)), shots, seed)
        return {"all": predict(fitted, self.sets["test"])}

    def base_to_new(self, method: str, shots: int, seed: int) -> Predictions:
        """Fit to the base classes, predict test images of base classes among these, and of new ones among the new.

        Nothing is predicted by methods that cannot name new classes; arguments as of `all_classes`.
        """
        base, new = range(self.task.base), range(self.task.base, len(self.task.names))
        fitted = self._fit(method, base, shots, seed)
        if not fitted.names_new_classes:
            return {}
        predicted = {"base": predict(fitted, restrict(self.sets["test"], base))}
        fitted.set_classes(self.texts.take(new))
        return {**predicted, "new": predict(fitted, restrict(self.sets["test"], new))}

    def _fit(self, method: str, classes: range, shots: int, seed: int) -> FewShotMethod:
        drawn = {"shots": draw(self.task, "shots", shots, seed),
                 "val": draw(self.task, "val", min(shots, self.max_validation), seed)}  # fmt: skip
        train, validation = (
            restrict(self.sets[part].take(torch.tensor(index)), classes) for part, index in drawn.items()
        )
        generator = torch.Generator().manual_seed(seed)
        fitted = METHODS[method](self.encoder, self.texts.take(classes), generator)
        fitted.fit(train, validation, self.budget, generator)
        return fitted


def restrict(images: ImageSet, classes: range) -> ImageSet:
    """The images of some classes, which are then counted from 0."""
    chosen = images.take(torch.nonzero((images.labels >= classes.start) & (images.labels < classes.stop))[:, 0])
    return replace(chosen, labels=chosen.labels - classes.start)


@torch.no_grad()
def predict(method: FewShotMethod, images: ImageSet) -> list[int]:
    """The likeliest class of every image."""
    parts = torch.arange(len(images)).split(BATCH)
    return [label for part in parts for label in method(images.take(part)).argmax(1).tolist()]
