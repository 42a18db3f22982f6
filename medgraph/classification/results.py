"""What was measured of a classifier, as a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.probes import ProbeResult
from medgraph.files import write_json


@dataclass(frozen=True, slots=True)
class ClassifierResults:
    """Figures on the test split.

    Attributes:
        test: as of a probe; thresholds are chosen on validation.
        trained: number of parameters that were trained, the head's included.
    """

    test: ProbeResult
    trained: int

    @classmethod
    def load(cls, file: Path) -> ClassifierResults:
        """Read what `save` has written."""
        content = json.loads(file.read_text(encoding="utf-8"))
        figures = {name: Estimate(**figure) for name, figure in content["test"]["figures"].items()}
        return cls(ProbeResult(**{**content["test"], "figures": figures}), content["trained"])

    def save(self, file: Path) -> None:
        """Write JSON, whole or not at all."""
        write_json(file, asdict(self))

    def value(self, name: str) -> float:
        """One figure of the test, see `ProbeResult`."""
        return self.test.figures[name].value
