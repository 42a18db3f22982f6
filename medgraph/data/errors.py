"""The one error of the data layer: it says where, what was found, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class DataError(ValueError):
    """A file, record or image that cannot be used.

    The message alone rebuilds the error, so that it survives the way out of a data loader's worker process.

    Attributes:
        kind: short snake_case name of the mistake; reports count by it.
        file: the file that holds the mistake, or "".
        record: id of the record inside the file, or "".
        field: name of the field inside the record, or "".
    """

    def __init__(self, message: str, kind: str = "invalid", file: str = "", record: str = "", field: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.file = file
        self.record = record
        self.field = field

    @classmethod
    def at(
        cls, kind: str, file: Path | str, *, found: Any, expected: str, fix: str, record: Any = None, field: str = ""
    ) -> DataError:
        """Describe a mistake at a place.

        Args:
            kind: short snake_case name of the mistake.
            file: file that holds it.
            found: the value found; shortened to 120 characters.
            expected: what would have been right.
            fix: what the user can do about it.
            record: id of the record inside the file, or ``line 3``, ``row 3``.
            field: name of the field inside the record.

        Example:
            >>> print(DataError.at("missing_field", "a.json", record=3, field="image", found=None,
            ...                    expected="a path below the data root", fix="complete the record"))
            a.json, record 3, field 'image': found None, expected a path below the data root; complete the record
        """
        place = [str(file)]
        if record is not None:
            place.append(str(record) if str(record).startswith(("line ", "row ")) else f"record {record}")
        if field:
            place.append(f"field {field!r}")
        shown = repr(found)
        shown = shown if len(shown) <= 120 else f"{shown[:117]}..."
        message = f"{', '.join(place)}: found {shown}, expected {expected}; {fix}"
        return cls(message, kind, str(file), "" if record is None else str(record), field)
