"""Mixtures by exact counts: which images of which subsets a run trains on, and a hash that proves it.

A compositional generalisation experiment compares arms of equal size, so a mixture is counts, never probabilities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from medgraph.data.records import Record
from medgraph.data.splits import take_balanced, water_fill

Role = Literal["id", "ood"]


@dataclass(frozen=True, slots=True)
class MixturePlan:
    """A drawn mixture.

    Attributes:
        images: for each subset its drawn image ids, sorted.
    """

    images: Mapping[str, tuple[str, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """Images of each subset."""
        return {subset: len(images) for subset, images in self.images.items()}

    def fingerprint(self) -> str:
        """Hash of every drawn image (16 hex digits), to be logged by every run that uses the plan."""
        lines = (f"{subset}\t{image}\n" for subset in sorted(self.images) for image in self.images[subset])
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    def select(self, records: Iterable[Record]) -> list[Record]:
        """The records of the drawn images, in the order given."""
        drawn = {subset: set(images) for subset, images in self.images.items()}
        return [record for record in records if record.image_id in drawn.get(record.subset, ())]


def equal_counts(available: Mapping[str, int], budget: int) -> dict[str, int]:
    """Share a budget of images equally among subsets; those that are too small give all they have.

    Args:
        available: images of each subset.
        budget: images wanted in total.

    Returns:
        Images of each subset; they sum to ``budget``.

    Raises:
        ValueError: if the subsets hold fewer images than the budget: arms of an experiment must have equal sizes, so
            lower the budget of all of them.
    """
    total = sum(available.values())
    if total < budget:
        raise ValueError(
            f"budget={budget}: the subsets {', '.join(sorted(available)) or '(none)'} hold {total} images; lower the "
            "budget of all arms to the smallest total"
        )
    return water_fill(available, budget)


def draw(records: Iterable[Record], counts: Mapping[str, int], seed: int) -> MixturePlan:
    """Draw exactly the wanted number of images of each subset, labels as balanced as possible.

    The draw of one subset depends on the seed and that subset alone, so arms that share a subset share its images.

    Args:
        records: the records to draw from.
        counts: subset to number of images.
        seed: seed of the draw.

    Raises:
        ValueError: if a subset is unknown or holds too few images.
    """
    labels = _labels(records)
    images = {}
    for subset, count in sorted(counts.items()):
        known = labels.get(subset, {})
        if not 0 <= count <= len(known):
            raise ValueError(f"{subset}: {count} images wanted, {len(known)} there; lower the count")
        images[subset] = tuple(sorted(take_balanced(known, count, seed)))
    return MixturePlan(images)


def measured_role(num_train: int, cap: int) -> Role:
    """Role of a subset by the rule of the paper: in distribution if its training images reach the cap.

    The paper's own list can differ where images are missing; reports show both.
    """
    return "id" if num_train >= cap else "ood"


def _labels(records: Iterable[Record]) -> dict[str, dict[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    for record in records:
        labels.setdefault(record.subset, {})[record.image_id] = record.label
    return labels
