"""Finding everything that is wrong with a folder of data before training: every record, every image, in one pass."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from medgraph.data.errors import DataError
from medgraph.data.images import decode
from medgraph.data.medmat import find_subsets
from medgraph.data.medmat_files import Item, scan_subset
from medgraph.data.paths import PathIndex, is_image, refused
from medgraph.data.policy import QUARANTINE
from medgraph.data.records import Corpus
from medgraph.progress import track

FORMATS = {".jpg": {"JPEG", "MPO"}, ".jpeg": {"JPEG", "MPO"}, ".png": {"PNG"}, ".bmp": {"BMP"}, ".gif": {"GIF"},
           ".tif": {"TIFF"}, ".tiff": {"TIFF"}, ".webp": {"WEBP"}}  # fmt: skip


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        root: what was checked.
        records: number of records read.
        images: number of different images decoded.
        problems: what would stop or spoil training.
        remarks: oddities that are handled, by kind.
        bad_images: images that cannot be used, relative to the root.
    """

    root: Path
    records: int = 0
    images: int = 0
    problems: list[DataError] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    bad_images: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing was found that stops training."""
        return not self.problems

    def counts(self) -> dict[str, int]:
        """Number of problems by kind, most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def verdict(self) -> str:
        """One sentence."""
        records = f"{self.records:,} records and " if self.records else ""
        seen = f"{records}{self.images:,} images of {self.root}"
        if self.ok:
            return f"{seen}: nothing wrong."
        kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in self.counts().items())
        return f"{seen}: {len(self.problems)} problem{'s' * (len(self.problems) > 1)} ({kinds})."

    def render(self, examples: int = 3) -> RenderableType:
        """Table of problems by kind with the first of each, remarks, and the verdict."""
        parts: list[RenderableType] = []
        if self.problems:
            table = Table("problem", "number", "for example", title="Data check")
            for kind, count in self.counts().items():
                shown = [str(problem) for problem in self.problems if problem.kind == kind][:examples]
                table.add_row(kind.replace("_", " "), str(count), escape("\n".join(shown)), style="red")
            parts.append(table)
        parts += [f"{count} × {remark}" for remark, count in self.remarks.most_common()]
        return Group(*parts, self.verdict())

    def write(self, path: Path) -> None:
        """Write every problem as JSON."""
        problems = [
            {"kind": p.kind, "file": p.file, "record": p.record, "field": p.field, "message": str(p)}
            for p in self.problems
        ]
        content = {"verdict": self.verdict(), "records": self.records, "images": self.images,
                   "counts": self.counts(), "remarks": dict(self.remarks), "problems": problems}  # fmt: skip
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def check_release(root: Path, numbers: Iterable[str] = ()) -> CheckReport:
    """Check a Med-MAT release: every file, every record, every image.

    Args:
        root: the data root.
        numbers: subsets to check; none: all.

    Raises:
        DataError: if there are no question files, or a subset is described nowhere.
    """
    report = CheckReport(root)
    index = PathIndex(root)
    owners: dict[str, tuple[Path, str]] = {}
    for file in find_subsets(root, tuple(numbers)):
        labels: dict[str, Item] = {}
        for found in _scan(file.path, report):
            report.records += 1
            if isinstance(found, DataError):
                report.problems.append(found)
                continue
            image = _locate(found, index, file.path, report)
            if image is None:
                continue
            first = labels.setdefault(image, found)
            if first.label != found.label:
                report.problems.append(
                    DataError.at("label_conflict", file.path, record=found.id, field="caption", found=found.label,
                                 expected=f"{first.label!r}, the label of record {first.id} with the same image",
                                 fix="correct one of the two")
                )  # fmt: skip
            owners.setdefault(image, (file.path, found.id))
        if len({item.label for item in labels.values()}) == 1:
            report.remarks["subsets with a single label, which cannot be asked about"] += 1
    _check_images(owners, root, report)
    return report


def check_corpus(corpus: Corpus, root: Path) -> CheckReport:
    """Check the images of a corpus that a reader has accepted.

    Args:
        corpus: what was read.
        root: folder of the images.
    """
    report = CheckReport(root, records=len({record.id for records in corpus.splits.values() for record in records}))
    owners = {r.image: (Path(r.subset), r.id) for records in corpus.splits.values() for r in records}
    _check_images(owners, root, report)
    return report


def check_folder(root: Path) -> CheckReport:
    """Check every image file below a folder.

    Args:
        root: the folder.
    """
    paths = sorted(path for path in root.rglob("*") if is_image(path.name) and path.is_file())
    report = CheckReport(root)
    _check_images({path.relative_to(root).as_posix(): None for path in paths}, root, report)
    return report


def write_quarantine(report: CheckReport) -> Path:
    """List the images that a check found unusable, so that reading with ``on_error="quarantine"`` leaves them out.

    Malformed records need no list: reading finds them again.

    Returns:
        The file, `QUARANTINE` below the checked folder; one image path a line.
    """
    target = report.root / QUARANTINE
    target.write_text("".join(f"{image}\n" for image in sorted(report.bad_images)), encoding="utf-8")
    return target


def _scan(path: Path, report: CheckReport) -> Iterator[Item | DataError]:
    try:
        yield from scan_subset(path)
    except DataError as error:  # the whole file is unreadable
        report.problems.append(error)


def _locate(item: Item, index: PathIndex, path: Path, report: CheckReport) -> str | None:
    try:
        image = index.find(item.image)
    except ValueError as error:
        report.problems.append(refused(item.image, error, path, item.id))
        return None
    if image is None:
        report.problems.append(
            DataError.at("image_missing", path, record=item.id, field="image", found=item.image,
                         expected="one file with this path or, failing that, this name", fix="restore the image")
        )  # fmt: skip
    elif image != item.image:
        report.remarks["image paths that differ from the disk in case, spelling or folder, corrected"] += 1
    return image


def _check_images(owners: Mapping[str, tuple[Path, str] | None], root: Path, report: CheckReport) -> None:
    """Decode images.

    Args:
        owners: image to the file and id of a record that needs it, if there are records.
        root: folder of the images.
        report: gets what is found.
    """
    for image in track(sorted(owners), "decoding images"):
        report.images += 1
        try:
            decode(root / image)
        except DataError as error:
            report.bad_images.append(image)
            if owner := owners[image]:
                file, record = owner
                error = DataError(f"{file}, record {record}: {error}", error.kind, str(file), record, "image")
            report.problems.append(error)
            continue
        expected = FORMATS.get(Path(image).suffix.lower())
        if expected is None:  # DICOM and NIfTI
            continue
        with PIL.Image.open(root / image) as opened:
            if opened.format not in expected:
                report.remarks[f"{opened.format} images named {Path(image).suffix}, read by content"] += 1
            if opened.mode not in ("RGB", "L"):
                report.remarks[f"images of mode {opened.mode}, converted to RGB"] += 1
