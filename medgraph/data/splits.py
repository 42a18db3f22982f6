"""Splits, caps and balance that never move an image when other images are added.

Every decision about an image or a group depends on a hash of its name and the seed alone, or on its rank by that hash
among the images of its own subset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from medgraph.data.records import ELEMENTS, MATTriplet

Key = TypeVar("Key", bound=Hashable)

SHARES = {"train": 0.70, "task": 0.05, "val": 0.05, "test": 0.20}
"""Expected share of the groups in each in-distribution split."""

PAPER_SHARES = {"train": 0.855, "val": 0.045, "test": 0.10}
"""Nine to one (Med-MAT, arXiv:2412.20070, section 2.1), with a twentieth of the nine for validation."""

HELD_BACK = {"train": 0.90, "task": 0.05, "val": 0.05}
"""Shares of the groups of a published training split, where validation images are not published."""

OOD_SHARE = 0.2
"""Largest share of the subsets that `choose_ood` holds out."""


def position(seed: int, *names: str) -> float:
    """A number in [0, 1) that depends on the seed and the names alone.

    Example:
        >>> position(0, "a") == position(0, "a") != position(1, "a")
        True
    """
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def split_of(group: str, seed: int, shares: Mapping[str, float] = SHARES) -> str:
    """Split of a group of images, drawn with the given shares (which sum to 1)."""
    remaining = position(seed, "split", group)
    for name, share in shares.items():
        if remaining < share:
            return name
        remaining -= share
    return name  # rounding of the shares


def water_fill(counts: Mapping[Key, int], total: int) -> dict[Key, int]:
    """Share a total among labels as equally as their counts permit.

    Labels that cannot fill an equal share give everything, and the others take up the rest.

    Args:
        counts: images available for each label.
        total: images wanted.

    Returns:
        Images to take of each label; they sum to ``min(total, sum(counts))`` and differ by at most one among the labels
        that are not exhausted.

    Raises:
        ValueError: if ``total`` is negative.

    Example:
        >>> water_fill({"normal": 90, "cyst": 50, "stone": 10}, 100)
        {'stone': 10, 'cyst': 45, 'normal': 45}
    """
    if total < 0:
        raise ValueError(f"total={total}: expected 0 or more images")
    taken: dict[Key, int] = {}
    for i, (label, count) in enumerate(sorted(counts.items(), key=lambda item: item[1])):
        taken[label] = min(count, total // (len(counts) - i))
        total -= taken[label]
    return taken


def take_balanced(labels: Mapping[str, str], total: int, seed: int) -> set[str]:
    """Choose at most ``total`` images with labels as balanced as possible (Med-MAT caps a subset at 3,000).

    Args:
        labels: image to label.
        total: largest number of images.
        seed: seed of the ranks within a label.

    Returns:
        The chosen images; a smaller total keeps a subset of what a larger one keeps, but for a remainder of one image a
        label.
    """
    return _first(labels, water_fill(_counts(labels.values()), total), seed)


def take_strictly_balanced(
    labels: Mapping[str, str], seed: int, max_per_label: int | None = None, min_per_label: int = 1
) -> set[str]:
    """Choose the largest set of images with the same number of every label (Med-MAT's test sets, appendix B.4).

    Args:
        labels: image to label.
        seed: seed of the ranks within a label.
        max_per_label: largest number of images a label; None: no limit. The paper's test sets have about 50.
        min_per_label: labels with fewer images are left out instead of shrinking all others.

    Returns:
        The chosen images; empty if no label has ``min_per_label`` of them.
    """
    counts = {label: count for label, count in _counts(labels.values()).items() if count >= min_per_label}
    if not counts:
        return set()
    each = min(counts.values())
    each = each if max_per_label is None else min(each, max_per_label)
    return _first(labels, dict.fromkeys(counts, each), seed)


def choose_ood(
    triplets: Mapping[str, MATTriplet], sources: Mapping[str, frozenset[str]], seed: int, share: float = OOD_SHARE
) -> set[str]:
    """Choose subsets to hold out so that every element of a held-out triplet still occurs in the remaining ones.

    Subsets of one triplet go together, because the held-out combination must be absent from training, and subsets that
    share a source with another triplet are passed over while there are others.

    Args:
        triplets: subset to triplet.
        sources: subset to the sources of its images; empty where unknown.
        seed: seed of the order in which triplets are tried.
        share: largest share of the subsets held out; at least one subset is tried.

    Returns:
        The held-out subsets; empty if no triplet can be held out.
    """
    members: dict[MATTriplet, set[str]] = {}
    for subset, triplet in triplets.items():
        members.setdefault(triplet, set()).add(subset)
    order = sorted(members, key=lambda triplet: position(seed, "ood", str(triplet)))
    limit = max(1, int(share * len(triplets)))
    for with_shared_sources in (False, True):
        held: set[MATTriplet] = set()
        for triplet in order:
            size = sum(len(members[other]) for other in (*held, triplet))
            if size <= limit and (with_shared_sources or not _shares_source(members, sources, triplet)):
                held = held | {triplet} if _covered(held | {triplet}, members) else held
        if held:
            return set().union(*(members[triplet] for triplet in held))
    return set()


def _covered(held: set[MATTriplet], triplets: Iterable[MATTriplet]) -> bool:
    remaining = [triplet for triplet in triplets if triplet not in held]
    return all(
        any(getattr(other, name) == getattr(triplet, name) for other in remaining)
        for triplet in held
        for name in ELEMENTS
    )


def _shares_source(
    members: Mapping[MATTriplet, set[str]], sources: Mapping[str, frozenset[str]], triplet: MATTriplet
) -> bool:
    own = frozenset().union(*(sources.get(subset, frozenset()) for subset in members[triplet]))
    others = (subset for other, subsets in members.items() if other != triplet for subset in subsets)
    return any(own & sources.get(subset, frozenset()) for subset in others)


def _counts(labels: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for label in sorted(labels):
        counts[label] = counts.get(label, 0) + 1
    return counts


def _first(labels: Mapping[str, str], quotas: Mapping[str, int], seed: int) -> set[str]:
    ranked: Sequence[str] = sorted(labels, key=lambda image: (position(seed, "rank", image), image))
    left, chosen = dict(quotas), set()
    for image in ranked:
        if left.get(labels[image], 0):
            left[labels[image]] -= 1
            chosen.add(image)
    return chosen
