"""What happens to records and images that cannot be used: stop, or leave out and count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from medgraph.config import FilesConfig
from medgraph.data.errors import DataError

Raw = TypeVar("Raw")
Parsed = TypeVar("Parsed")

QUARANTINE = "quarantine.txt"
"""File below the data root that lists unreadable images, one a line; `medgraph.data.check` writes it."""

MAX_QUARANTINED = 0.1
"""Share of the records that may be left out before reading stops all the same."""


class Policy:
    """Stops at the first mistake, or leaves it out and counts it.

    Args:
        mode: ``error`` or ``quarantine``.
        notes: counts what was left out, by kind of mistake.
        images: images that a check has found unreadable; only left out in ``quarantine`` mode.
    """

    def __init__(self, mode: Literal["error", "quarantine"], notes: Counter[str], images: Collection[str] = ()) -> None:
        self.mode, self.notes, self.images = mode, notes, frozenset(images) if mode == "quarantine" else frozenset()
        self.rejected = 0

    def reject(self, error: DataError) -> None:
        """Raise the error, or count it.

        Raises:
            DataError: in ``error`` mode.
        """
        if self.mode == "error":
            raise error
        self.rejected += 1
        self.notes[f"quarantined: {error.kind.replace('_', ' ')}"] += 1

    def usable(self, parse: Callable[[Raw], Parsed], rows: Iterable[Raw]) -> Iterator[Parsed]:
        """Parse rows one by one; those that raise a `DataError` are rejected.

        Raises:
            DataError: in ``error`` mode.
        """
        for row in rows:
            try:
                parsed = parse(row)
            except DataError as error:
                self.reject(error)
            else:
                yield parsed

    def check(self, kept: int, root: Path) -> None:
        """Stop if more than `MAX_QUARANTINED` of the records were left out.

        Raises:
            DataError: with the number of unusable records.
        """
        if self.rejected > MAX_QUARANTINED * (kept + self.rejected):
            kinds = "; ".join(f"{note} {count}" for note, count in self.notes.items() if note.startswith("quarantined"))
            raise DataError.at("too_many_quarantined", root, expected=f"at most {MAX_QUARANTINED:.0%}",
                               found=f"{self.rejected} of {kept + self.rejected} records unusable",
                               fix=f"correct them ({kinds})")  # fmt: skip

    @classmethod
    def of(cls, config: FilesConfig, notes: Counter[str] | None = None) -> Policy:
        """The policy of a configuration; `QUARANTINE` in the data root lists the unreadable images."""
        root = Path(config.root)
        path = (root if root.is_dir() else root.parent) / QUARANTINE
        listed = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return cls(config.on_error, Counter() if notes is None else notes, listed)
