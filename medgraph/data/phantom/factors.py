"""The generative factors of a phantom image, and the space they are drawn from.

Everything is decided by ``(data seed, index)``. An index names its split (`SPLITS`), so growing one split never changes
another, and an image can be rendered in any process without knowing the rest of the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import combinations, product
from typing import Any, TypeVar

import numpy as np

from medgraph.config import ConfigError, PhantomConfig
from medgraph.data.records import MATTriplet
from medgraph.data.splits import position

MODALITIES = ("x-ray", "ct", "mri", "ultrasound", "fundus", "dermoscopy", "histology")
AREAS = ("lung", "brain", "kidney", "breast", "heart", "eye", "forearm")
FINDINGS = ("normal", "mass", "cyst", "calcification", "fracture", "effusion", "opacity")
SIDES = ("left", "right")
LEVELS = ("upper", "lower")
SIZES = ("small", "large")
SEVERITIES = ("mild", "moderate", "severe")

T = TypeVar("T")

SPLITS = ("train", "task", "val", "test", "ood")
SPLIT_CAPACITY = 1_000_000
"""Image ``i`` of split number ``s`` has index ``s * SPLIT_CAPACITY + i``."""


class Stream(IntEnum):
    """Independent sources of randomness of one image: changing one factor leaves what the others decide as it is."""

    FACTORS = 0
    QUESTIONS = 1
    ANATOMY = 2
    FINDING = 3
    MODALITY = 4
    NOISE = 5


def generator(seed: int, index: int, stream: Stream) -> np.random.Generator:
    """Random generator of one image for one purpose."""
    return np.random.default_rng((seed, index, stream))


@dataclass(frozen=True, slots=True)
class Nuisance:
    """What varies and is never asked about; every field is uniform and independent of all the others.

    Attributes:
        rotation: radians in ±0.12.
        scale: 0.93 to 1.07.
        shift_x: ±0.06, in units of half the image side.
        shift_y: as ``shift_x``.
        contrast: gain around mid-grey, 0.88 to 1.12.
        brightness: offset in ±0.04 of the full range.
        noise: multiplier of the modality's noise, 0.6 to 1.4.
        border: width of a black frame as a share of the side, 0 to 0.05.
    """

    rotation: float
    scale: float
    shift_x: float
    shift_y: float
    contrast: float
    brightness: float
    noise: float
    border: float

    LOW = (-0.12, 0.93, -0.06, -0.06, 0.88, -0.04, 0.6, 0.0)
    HIGH = (0.12, 1.07, 0.06, 0.06, 1.12, 0.04, 1.4, 0.05)


@dataclass(frozen=True, slots=True)
class Factors:
    """Everything that determines one image, apart from its size in pixels.

    ``side`` and ``level`` are positions in the image as it is shown (not the patient's side). Location, size and
    severity are drawn for every image and have no effect where the finding is ``normal``.
    """

    seed: int
    index: int
    modality: str
    area: str
    finding: str
    side: str
    level: str
    size: str
    severity: str
    nuisance: Nuisance

    @property
    def triplet(self) -> MATTriplet:
        """Modality, area and finding as a MAT triplet."""
        return MATTriplet(self.modality, self.area, self.finding)


def hold_out(triplets: Sequence[MATTriplet], share: float, seed: int) -> frozenset[MATTriplet]:
    """Choose combinations to keep out of training, evenly over elements and pairs of elements.

    Greedy: each step takes a combination whose pairs, then elements, have been taken least often (ties at random),
    among those that leave every pair of elements at least once in training.

    Args:
        triplets: the full crossing.
        share: share to hold out, in [0, 1); at least one combination unless it is 0.
        seed: data seed.

    Raises:
        ConfigError: if that many cannot be taken without losing a pair of elements from training.
    """
    wanted = max(1, round(share * len(triplets))) if share else 0
    order = np.random.default_rng((seed, len(triplets))).permutation(len(triplets))
    rest = [triplets[i] for i in order]
    left = Counter(part for triplet in rest for part in _parts(triplet))
    taken: Counter[tuple[str, ...]] = Counter()
    held: list[MATTriplet] = []
    for _ in range(wanted):
        candidates = [triplet for triplet in rest if min(left[part] for part in _parts(triplet)) > 1]
        if not candidates:
            raise ConfigError(
                f"holdout={share} asks for {wanted} of {len(triplets)} combinations, but only {len(held)} can be held "
                "out with every pair of elements still in training; lower data.holdout"
            )
        best = min(candidates, key=lambda triplet: sorted((taken[part] for part in _parts(triplet)), reverse=True))
        held.append(best)
        rest.remove(best)
        left.subtract(_parts(best))
        taken.update(_parts(best))
    return frozenset(held)


def _parts(triplet: MATTriplet) -> list[tuple[str, ...]]:
    """The three pairs and three single elements of a triplet, each tagged by its position."""
    named = [f"{name}={getattr(triplet, name)}" for name in ("modality", "area", "task")]
    return [*combinations(named, 2), *((name,) for name in named)]


class FactorSpace:
    """The values in use, which combinations train, and how the factors of an index are drawn.

    Args:
        config: see `medgraph.config.PhantomConfig`.

    Attributes:
        modalities: names in use; likewise ``areas`` and ``findings``.
        seen: combinations of train, task, val and test, in a fixed order.
        unseen: combinations of ood.

    With ``config.entanglement`` as probability, an image of the seen combinations is drawn from those in which the area
    belongs to the modality (area number = modality number, modulo the number of areas).

    Raises:
        ConfigError: if a count or a share is outside its range.
    """

    def __init__(self, config: PhantomConfig) -> None:
        self.seed, self.entanglement, self.interaction = config.seed, config.entanglement, config.interaction
        self.modalities = _first(MODALITIES, config.num_modalities, "num_modalities")
        self.areas = _first(AREAS, config.num_areas, "num_areas")
        self.findings = _first(FINDINGS, config.num_findings, "num_findings")
        for name in ("holdout", "entanglement", "interaction"):
            value = getattr(config, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"data.{name}={value} is not a share in [0, 1]")
        crossing = [MATTriplet(*names) for names in product(self.modalities, self.areas, self.findings)]
        held = hold_out(crossing, config.holdout, config.seed)
        self.seen = [triplet for triplet in crossing if triplet not in held]
        self.unseen = [triplet for triplet in crossing if triplet in held]
        partner = {m: self.areas[i % len(self.areas)] for i, m in enumerate(self.modalities)}
        self._tied = [triplet for triplet in self.seen if triplet.area == partner[triplet.modality]]

    def draw(self, index: int) -> Factors:
        """Factors of one image: a pure function of the data seed, the values in use, and the index."""
        u = generator(self.seed, index, Stream.FACTORS).random(6 + len(Nuisance.LOW))
        if index // SPLIT_CAPACITY == SPLITS.index("ood"):
            pool = self.unseen
        else:
            pool = self._tied if u[0] < self.entanglement else self.seen
        triplet = _pick(pool, u[1])
        spread = zip(Nuisance.LOW, Nuisance.HIGH, u[6:], strict=True)
        return Factors(
            seed=self.seed,
            index=index,
            modality=triplet.modality,
            area=triplet.area,
            finding=triplet.task,
            side=_pick(SIDES, u[2]),
            level=_pick(LEVELS, u[3]),
            size=_pick(SIZES, u[4]),
            severity=_pick(SEVERITIES, u[5]),
            nuisance=Nuisance(*(float(low + (high - low) * share) for low, high, share in spread)),
        )

    def appearance(self, factors: Factors) -> Factors:
        """The factors that an image is drawn with; the true ones, unless its modality and area have looks of their own.

        Such a pair moves every value on by modality number + area number, around its list (abnormal findings among
        themselves): a look differs between any two neighbouring areas of a modality, and modalities of an area.
        """
        m, a = self.modalities.index(factors.modality), self.areas.index(factors.area)
        if position(self.seed, "interaction", factors.modality, factors.area) >= self.interaction:
            return factors
        abnormal = tuple(finding for finding in self.findings if finding != "normal")
        looks = {"side": SIDES, "level": LEVELS, "size": SIZES, "severity": SEVERITIES}
        if factors.finding != "normal":
            looks["finding"] = abnormal
        moved: dict[str, Any] = {name: values[(values.index(getattr(factors, name)) + m + a) % len(values)]
                 for name, values in looks.items()}  # fmt: skip
        return replace(factors, **moved)


def _pick(values: Sequence[T], share: float) -> T:
    return values[int(share * len(values))]


def _first(names: tuple[str, ...], count: int, option: str) -> tuple[str, ...]:
    if not 2 <= count <= len(names):
        raise ConfigError(f"data.{option}={count} is outside 2 to {len(names)}: {', '.join(names)}")
    return names[:count]
