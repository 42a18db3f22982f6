"""Groups that hold: near duplicates joined with the groups one already has, so that no split separates them.

Published groups and patient ids miss pictures that were uploaded twice. `regroup` compares all images of a Med-MAT
release and writes a ``groups.csv`` in which images that look alike share a group.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from medgraph.data.hashing import NEAR, equal_files, near_pairs, signatures
from medgraph.data.medmat import find_subsets
from medgraph.data.medmat_files import read_subset
from medgraph.data.paths import PathIndex

COLUMNS = ("image", "subset", "group", "modality", "area", "task", "source")


def join_groups(groups: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the groups of paired images, transitively.

    Args:
        groups: image to group.
        pairs: images that must not be split.

    Returns:
        Image to group; joined groups take the name that is first in the alphabet, all others keep theirs.

    Example:
        >>> join_groups({"1.png": "a", "2.png": "b", "3.png": "b", "4.png": "c"}, [("1.png", "3.png")])
        {'1.png': 'a', '2.png': 'a', '3.png': 'a', '4.png': 'c'}
    """
    parent = {group: group for group in groups.values()}

    def root_of(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for a, b in pairs:
        first, second = sorted((root_of(groups[a]), root_of(groups[b])))
        parent[second] = first
    return {image: root_of(group) for image, group in groups.items()}


def regroup(root: Path, target: Path, threshold: float = NEAR) -> int:
    """Write a ``groups.csv`` that keeps copies of one picture together.

    Args:
        root: the data root; an existing ``groups.csv`` is read and its facts are kept.
        target: file to write; copy it to ``groups.csv`` to use it.
        threshold: smallest absolute correlation of near duplicates.

    Returns:
        Number of groups that were joined to another.

    Raises:
        DataError: for malformed records, missing and unreadable images.
        ValueError: if ``target`` exists.
    """
    if target.exists():
        raise ValueError(f"{target} exists; choose another name, nothing is overwritten")
    index = PathIndex(root)
    rows, groups = [], {}
    for file in find_subsets(root):
        for item in read_subset(file.path):
            fact = file.facts.get(item.image)
            image = index.find(item.image) or item.image
            groups[image] = (fact.group if fact else "") or image
            triplet = (file.spec.triplet.modality, file.spec.triplet.area, file.spec.triplet.task)
            rows.append((item.image, image, file.spec.no, *triplet, fact.source if fact else ""))
    images = sorted(groups)
    pairs = [(images[i], images[j]) for i, j, _ in near_pairs(signatures(images, root), threshold)]
    pairs += [(copies[0], copy) for copies in equal_files(images, root) for copy in copies[1:]]
    joined = join_groups(groups, pairs)
    with target.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for written, image, number, modality, area, task, source in rows:
            writer.writerow((written, number, joined[image], modality, area, task, source))
    return len(set(groups.values())) - len(set(joined.values()))
