"""The subsets of Med-MAT and those a user adds: triplet, task tags, data sets, role in the paper.

`builtin()` reads two packaged tables of facts from arXiv:2412.20070 and its README: 53 subsets and 109 data set rows.
A triplet is not a key (six fine triplets belong to two subsets each), so looking up an ambiguous one fails with
the candidates.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from omegaconf import OmegaConf

from medgraph.data.records import MATTriplet
from medgraph.data.vocabulary import TASK_PARENT, TASKS, parse_triplet

Kind = Literal["cls", "det", "seg", "det_seg"]
Role = Literal["id", "ood"]


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One source data set of Med-MAT (a row of its README).

    Attributes:
        no: row number in the README.
        name: name as published, misspellings included.
        modality: canonical modality.
        area: canonical area.
        task: task text as published.
        subsets: subsets that contain it (Table 17); empty for the three unused rows.
        access: ``open``; ``account`` (a log-in at the host) or ``credentialed`` (PhysioNet), derived from the host.
        url: where it was published.
        licence: of the images as their authors published them, for a few; empty: see ``url``. Med-MAT's own covers its
            texts only.
        note: what is known to be wrong with the row.
    """

    no: int
    name: str
    modality: str
    area: str
    task: str
    subsets: tuple[int, ...]
    access: str
    url: str
    licence: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class SubsetSpec:
    """One subset: images with one modality, area and task and a shared set of labels.

    Attributes:
        no: number; Med-MAT's own are 1 to 53.
        triplet: modality, area and fine task category.
        name: task name as published.
        alternates: other categories the task is also called by.
        kind: classification, detection or segmentation.
        multilabel: True if captions are comma-joined label sets.
        datasets: numbers of the source data sets.
        role: the paper's use: 25 in-distribution, 12 out-of-distribution subsets; None for all others.
        evidence: where the category comes from.
        slug: name of a subset that has no number in Med-MAT; empty: ``subset-<no>``.
    """

    no: int
    triplet: MATTriplet
    name: str = ""
    alternates: frozenset[str] = frozenset()
    kind: Kind = "cls"
    multilabel: bool = False
    datasets: tuple[int, ...] = ()
    role: Role | None = None
    evidence: str = ""
    slug: str = ""

    @property
    def key(self) -> str:
        """Name of the subset in records and reports: ``subset-03``."""
        return self.slug or f"subset-{self.no:02d}"

    @property
    def tags(self) -> frozenset[str]:
        """Every task category the subset goes by: fine, parent, alternates."""
        task = self.triplet.task
        return self.alternates | {task} | ({TASK_PARENT[task]} if task in TASK_PARENT else set())


class Registry:
    """Subsets by number, key or triplet, and the data sets behind them.

    Args:
        subsets: the subsets.
        datasets: their source data sets.

    Raises:
        ValueError: for two subsets of one number, an unknown data set, or a kind that contradicts the task.

    Example:
        >>> registry = builtin()
        >>> str(registry["subset-28"].triplet), sorted(registry[28].tags)
        ('X-ray/Lung/covid', ['covid', 'diseases', 'state'])
        >>> [spec.no for spec in registry.filter(modality="CT", task="state")]
        [3, 4, 5, 6]
    """

    def __init__(self, subsets: Iterable[SubsetSpec] = (), datasets: Iterable[DatasetSpec] = ()) -> None:
        self.datasets = {dataset.no: dataset for dataset in datasets}
        self._subsets: dict[int, SubsetSpec] = {}
        for spec in subsets:
            self._add(spec)

    def _add(self, spec: SubsetSpec) -> None:
        if spec.no in self._subsets:
            raise ValueError(f"subset {spec.no} exists twice: {self._subsets[spec.no].name!r} and {spec.name!r}; "
                             "give the new one a free number")  # fmt: skip
        if spec.kind not in get_args(Kind):
            raise ValueError(f"{spec.key}: kind {spec.kind!r} is none of {', '.join(get_args(Kind))}")
        if unknown := set(spec.datasets) - set(self.datasets):
            raise ValueError(f"{spec.key}: unknown data set number {min(unknown)}; known: {_ranges(self.datasets)}")
        if (spec.kind == "cls") == spec.triplet.task.endswith(("_det", "_seg")):
            raise ValueError(f"{spec.key}: kind {spec.kind!r} contradicts the task {spec.triplet.task!r}")
        self._subsets[spec.no] = spec

    def with_subsets(self, specs: Iterable[SubsetSpec]) -> Registry:
        """A new registry with more subsets.

        Raises:
            ValueError: as the constructor.
        """
        return Registry([*self, *specs], self.datasets.values())

    def __getitem__(self, key: int | str) -> SubsetSpec:
        """Look a subset up by number (``3``, ``"03"``), key (``"subset-03"``) or triplet (``"CT/Lung/covid"``).

        Raises:
            KeyError: if there is none, or a triplet belongs to several subsets.
        """
        text = str(key).strip()
        digits = text.removeprefix("subset-")
        if digits.isdigit():
            if int(digits) in self._subsets:
                return self._subsets[int(digits)]
            raise KeyError(f"unknown subset {key!r}; known numbers: {_ranges(self._subsets)}")
        triplet = parse_triplet(text)
        found = [spec for spec in self if spec.triplet == triplet]
        if len(found) != 1:
            candidates = ", ".join(f"{spec.key} ({spec.name})" for spec in found) or "none"
            raise KeyError(f"{triplet} does not name one subset: {candidates}; use the number")
        return found[0]

    def __contains__(self, no: int) -> bool:
        return no in self._subsets

    def __iter__(self) -> Iterator[SubsetSpec]:
        return iter(sorted(self._subsets.values(), key=lambda spec: spec.no))

    def __len__(self) -> int:
        return len(self._subsets)

    def filter(
        self,
        modality: str | None = None,
        area: str | None = None,
        task: str | None = None,
        kind: Kind | None = None,
        role: Role | None = None,
    ) -> list[SubsetSpec]:
        """Subsets that match every given criterion; ``task`` matches any tag, parents included."""
        return [
            spec
            for spec in self
            if (modality is None or spec.triplet.modality == modality)
            and (area is None or spec.triplet.area == area)
            and (task is None or task in spec.tags)
            and (kind is None or spec.kind == kind)
            and (role is None or spec.role == role)
        ]

    def open_part(self) -> Registry:
        """What can be downloaded without an account: subsets with their open data sets, without those that have none.

        Subsets without data sets, which a user has added, stay.
        """
        parts = [(spec, tuple(no for no in spec.datasets if self.datasets[no].access == "open")) for spec in self]
        kept = [replace(spec, datasets=numbers) for spec, numbers in parts if numbers or not spec.datasets]
        return Registry(kept, self.datasets.values())

    def ambiguous(self) -> dict[MATTriplet, tuple[int, ...]]:
        """Fine triplets that belong to more than one subset, with the subsets' numbers."""
        numbers: dict[MATTriplet, list[int]] = {}
        for spec in self:
            numbers.setdefault(spec.triplet, []).append(spec.no)
        return {triplet: tuple(found) for triplet, found in numbers.items() if len(found) > 1}

    def shared_datasets(self) -> dict[frozenset[int], tuple[str, ...]]:
        """Pairs of subsets that draw on the same source, with the sources' names: where leaks are to be expected.

        Sources are compared by name and by link, because Med-MAT lists some twice under different numbers.
        """
        pairs: dict[frozenset[int], list[str]] = {}
        specs = list(self)
        for i, first in enumerate(specs):
            for second in specs[i + 1 :]:
                names = [
                    self.datasets[a].name
                    for a in first.datasets
                    if any(self._same_source(a, b) for b in second.datasets)
                ]
                if names:
                    pairs[frozenset({first.no, second.no})] = names
        return {pair: tuple(names) for pair, names in pairs.items()}

    def _same_source(self, a: int, b: int) -> bool:
        return a == b or self.datasets[a].name.lower() == self.datasets[b].name.lower()


def _ranges(numbers: Iterable[int]) -> str:
    """Compact list of numbers: ``1-53, 101``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"


@cache
def builtin() -> Registry:
    """The 53 subsets and 109 data set rows of Med-MAT."""
    return Registry(map(_subset, _table("subsets.csv")), map(_dataset, _table("datasets.csv")))


def _dataset(row: Mapping[str, str]) -> DatasetSpec:
    fixed = {"no": int(row["no"]), "subsets": _numbers(row["subsets"])}
    return DatasetSpec(**{**row, **fixed})  # type: ignore[arg-type]  # packaged table


def _subset(row: Mapping[str, str]) -> SubsetSpec:
    return SubsetSpec(
        no=int(row["no"]),
        triplet=MATTriplet(row["modality"], row["area"], row["task"]),
        name=row["name"],
        alternates=frozenset(filter(None, row["tags"].split(";"))),
        kind=row["kind"],  # type: ignore[arg-type]  # checked by the registry
        multilabel=row["multilabel"] == "1",
        datasets=_numbers(row["datasets"]),
        role=row["role"] or None,  # type: ignore[arg-type]  # packaged table
        evidence=row["evidence"],
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(";") if number)


def _table(name: str) -> list[dict[str, str]]:
    text = (resources.files("medgraph.data") / "resources" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def from_yaml(path: Path | str, base: Registry | None = None) -> Registry:
    """Add the subsets of a YAML file to a registry.

    The file maps numbers to ``triplet`` (``modality/area/task``) and optionally ``name``, ``alternates``, ``kind`` and
    ``multilabel``::

        101: {triplet: X-ray/Lung/recognition, name: Pneumonia cause}

    Args:
        path: the file.
        base: registry to extend; None: `builtin`.

    Raises:
        ValueError: naming the file, the subset and the entry that is wrong.
    """
    entries = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: expected a mapping from subset numbers to entries, found {type(entries).__name__}")
    specs = []
    for no, entry in entries.items():
        try:
            specs.append(_from_mapping(no, entry))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, subset {no!r}: {error}") from error
    return (base or builtin()).with_subsets(specs)


def _from_mapping(no: Any, entry: Any) -> SubsetSpec:
    if not isinstance(no, int):
        raise ValueError("the key must be a whole number")
    if not isinstance(entry, dict) or "triplet" not in entry:
        raise ValueError("expected {triplet: modality/area/task, …}")
    if unknown := set(entry) - {"triplet", "name", "alternates", "kind", "multilabel"}:
        raise ValueError(f"unknown entry {min(unknown)!r}; known: triplet, name, alternates, kind, multilabel")
    spec = SubsetSpec(no, parse_triplet(entry["triplet"]))
    alternates = frozenset(TASKS.canonical(task) for task in entry.get("alternates", ()))
    return replace(
        spec, **{k: v for k, v in entry.items() if k not in ("triplet", "alternates")}, alternates=alternates
    )
