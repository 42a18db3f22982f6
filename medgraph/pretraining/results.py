"""What the probes of a pre-trained tower say, as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.probes import ProbeResult
from medgraph.files import write_json

FIGURES = ("accuracy", "macro_f1", "macro_auroc", "macro_recall")
"""Figures of a probe, the first one is what studies compare."""


@dataclass(frozen=True, slots=True)
class PretrainResults:
    """Probes on the test split.

    Attributes:
        probes: ``knn`` and ``linear``.
    """

    probes: dict[str, ProbeResult]

    @classmethod
    def of(cls, probes: Iterable[ProbeResult]) -> PretrainResults:
        """Name probes by their kind."""
        return cls({result.probe: result for result in probes})

    @classmethod
    def load(cls, file: Path) -> PretrainResults:
        """Read what `save` has written."""
        rows = json.loads(file.read_text(encoding="utf-8"))
        for row in rows:
            row["figures"] = {name: Estimate(**figure) for name, figure in row["figures"].items()}
        return cls.of(ProbeResult(**row) for row in rows)

    def save(self, file: Path) -> None:
        """Write JSON, whole or not at all."""
        write_json(file, [asdict(result) for result in self.probes.values()])

    def value(self, probe: str = "linear", figure: str = FIGURES[0]) -> float:
        """One figure of one probe."""
        return self.probes[probe].figures[figure].value
