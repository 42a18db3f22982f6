"""What was measured of a dual encoder, as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from medgraph.contrast.figure import Figure
from medgraph.files import write_json


@dataclass(frozen=True, slots=True)
class ContrastResults:
    """Figures on the test split by name, see `medgraph.contrast.measure`."""

    figures: Mapping[str, Figure]

    @classmethod
    def load(cls, file: Path) -> ContrastResults:
        """Read what `save` has written."""
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls({name: Figure(**figure) for name, figure in content.items()})

    def save(self, file: Path) -> None:
        """Write JSON, whole or not at all."""
        write_json(file, {name: asdict(figure) for name, figure in self.figures.items()})

    def value(self, name: str) -> float:
        """One figure; NaN where the data has nothing to measure it on."""
        return self.figures[name].value if name in self.figures else float("nan")
