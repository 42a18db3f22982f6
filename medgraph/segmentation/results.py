"""What a segmentation is worth on the test split, as a file.

Letters: N images, K classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from medgraph.evaluation.estimate import Estimate, bootstrap_estimates
from medgraph.files import write_json
from medgraph.segmentation.overlap import Counts, overlap_figures

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class SegmentationResults:
    """Figures on the test split.

    Attributes:
        n: number of images.
        figures: see `overlap_figures`, without classes that the test split lacks; intervals are over images.
    """

    n: int
    figures: dict[str, Estimate]

    @classmethod
    def of(cls, counts: Counts, names: Sequence[str], classes: Sequence[str], seed: int) -> SegmentationResults:
        """Measure.

        Args:
            counts: (N, K, K), see `medgraph.segmentation.overlap.count_pixels`.
            names: of the images.
            classes: K names.
            seed: of the bootstrap over images.
        """
        rng = np.random.default_rng(seed)
        figures = bootstrap_estimates(lambda index: overlap_figures(counts[index], classes), names, rng, RESAMPLES)
        known = {name: each for name, each in figures.items() if name in ("dice", "iou") or not math.isnan(each.value)}
        return cls(len(counts), known)

    @classmethod
    def load(cls, file: Path) -> SegmentationResults:
        """Read what `save` has written."""
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(content["n"], {name: Estimate(**figure) for name, figure in content["figures"].items()})

    def save(self, file: Path) -> None:
        """Write JSON, whole or not at all."""
        write_json(file, asdict(self))

    def value(self, name: str) -> float:
        """One figure."""
        return self.figures[name].value
