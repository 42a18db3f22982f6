"""The report of a few-shot study: learning curves, methods × shots, base to new, and paired tests of one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from medgraph.evaluation.effects import Effect, Scores, interval_of
from medgraph.evaluation.plain import to_plain
from medgraph.evaluation.statistics import Interval
from medgraph.files import write_json
from medgraph.prompting.options import FewShotConfig
from medgraph.prompting.results import FewShotResults
from medgraph.report import plots
from medgraph.report.cg_curves import curve
from medgraph.report.cg_figures import size_curves
from medgraph.report.page import Picture, picture
from medgraph.report.sections import Section, write_sections
from medgraph.report.tables import RunTable, write_tables
from medgraph.report.words import interval, p_value, percent, points

FAMILIES = {
    "Learnt prompts": ("zero_shot", "dude", "coop", "plot"),
    "Adapters and probes": ("zero_shot", "dude", "linear_probe", "clip_adapter", "tip_adapter", "tip_adapter_f"),
}
"""Methods by figure, as many as there are colours; those of both figures first, so that they look the same."""
NAMES = {
    "zero_shot": "zero-shot", "linear_probe": "linear probe", "coop": "CoOp", "plot": "PLOT",
    "clip_adapter": "CLIP-Adapter", "tip_adapter": "Tip-Adapter", "tip_adapter_f": "Tip-Adapter-F", "dude": "Dude",
}  # fmt: skip
"""Methods as readers know them."""
WITHIN = "95 % intervals over seeds and images (patients, where these are known)"


def write_report(folder: Path, title: str, config: FewShotConfig, results: FewShotResults) -> Path:
    """Write ``report.html``, every table as CSV, Markdown and LaTeX, and ``results.json``.

    Args:
        folder: of the study.
        title: heading.
        config: what was run.
        results: what it has found.
    """
    sections = [_classified(results), _paired(results), _generalized(results)]
    write_tables(folder, tables(results))
    write_json(folder / "results.json", _plain(results))
    budget = config.budget
    facts = [config.encoder or f"tiny CLIP, {config.pretrain_steps:,} steps", f"{len(results.names)} classes",
             _count(results.seeds, "draw"), f"{len(results.test):,} test images",
             f"{budget.steps} steps of {budget.batch_size} images, rate {budget.lr:g}"]  # fmt: skip
    return write_sections(folder / "report.html", title, "MedGraph · few-shot prompts", facts, sections)


def tables(results: FewShotResults) -> list[RunTable]:
    """Accuracy by shots, all figures at the most shots, paired tests, and base to new."""
    return [accuracy_table(results), figure_table(results), paired_table(results), base_to_new_table(results)]


def accuracy_table(results: FewShotResults) -> RunTable:
    """Methods × shots."""
    rows = [
        (NAMES[method], *(_share(results.accuracy(method, shots)) for shots in results.shots),
         _share(results.mean_accuracy(method)))
        for method in results.classified
    ]  # fmt: skip
    header = ("method", *(_count(shots, "shot") for shots in results.shots), "mean")
    caption = (f"Accuracy in % over {len(results.names)} classes, n = {len(results.test):,} test images, "
               f"{_count(results.seeds, 'draw')} of the shots; {WITHIN}.")  # fmt: skip
    return RunTable("accuracy", "Accuracy, %", header, rows, caption)


def figure_table(results: FewShotResults) -> RunTable:
    """Accuracy, balanced accuracy and macro F1 at the largest number of shots."""
    most = results.shots[-1]
    rows = []
    for method in results.classified:
        f1 = results.macro_f1(method, most)
        spread = f" ± {percent(float(np.std(f1, ddof=1)))}" if len(f1) > 1 else ""
        balanced = results.accuracy(method, most, balanced=True)
        cells = (_share(results.accuracy(method, most)), _share(balanced), f"{percent(float(np.mean(f1)))}{spread}")
        rows.append((NAMES[method], *cells))
    caption = f"{_count(most, 'shot')} a class; {WITHIN}; macro F1: mean ± SD over seeds."
    header = ("method", "accuracy, %", "balanced accuracy, %", "macro F1, %")
    return RunTable("figures", f"All figures, {_count(most, 'shot')}", header, rows, caption)


def paired_table(results: FewShotResults) -> RunTable:
    """The reference against each other method, over all shots and at each number of them."""
    over_all = results.compare(results.mean_accuracy)
    at = {shots: results.compare(_at(results, shots)) for shots in results.shots}
    rows = [
        (NAMES[method], _difference(effect), p_value(effect.p), p_value(effect.p_holm),
         *(_difference(at[shots][method]) for shots in results.shots))
        for method, effect in over_all.items()
    ]  # fmt: skip
    name = NAMES[results.reference]
    header = (f"{name} minus", "mean over shots", "p", "p, Holm", *(_count(shots, "shot") for shots in results.shots))
    caption = (
        f"Accuracy of {name} minus that of the method in points, paired by seed and image; {WITHIN}; exact p of "
        "exchangeable images for the mean over shots, corrected by Holm for the number of methods."
    )
    return RunTable("paired", f"{name} against the others", header, rows, caption)


def base_to_new_table(results: FewShotResults) -> RunTable:
    """Base classes, new classes, and their harmonic mean."""
    found = {method: sides for method in results.classified if (sides := results.base_to_new(method))}
    effects = results.compare(lambda method: results.base_to_new(method).get("H"))
    rows = [
        (NAMES[method], *map(_share, sides.values()), _difference(effects[method]) if method in effects else "")
        for method, sides in found.items()
    ]  # fmt: skip
    new = len(results.names) - results.base
    caption = (
        f"{_count(results.shots[-1], 'shot')} of each of {results.base} base classes; accuracy in % on test images of "
        f"these among themselves and of {new} new classes among themselves; H: harmonic mean, its intervals to first "
        f"order; {WITHIN}. Methods that cannot name new classes are left out."
    )
    header = ("method", "base", "new", "H", f"H of {NAMES[results.reference]} minus this")
    return RunTable("base_to_new", "From base to new classes", header, rows, caption)


def _classified(results: FewShotResults) -> Section:
    figures: list[Picture] = []
    if len(results.shots) > 1:
        for title, family in FAMILIES.items():
            curves = [
                curve(NAMES[method], {shots: results.accuracy(method, shots) for shots in results.shots})
                for method in family if method in results.classified
            ]  # fmt: skip
            drawn = size_curves(curves, f"{title}: accuracy, %", "images a class")
            figures.append(picture(drawn, f"{title}: accuracy over shots, {WITHIN} as bands."))
    few = results.seeds < 5
    warnings = ["Fewer than five draws of the shots: the intervals are wide where draws differ."] if few else []
    text = ("All methods have the same encoder, the same shots and validation images, and the same budget; what is "
            "chosen is chosen on validation.")  # fmt: skip
    shown = [accuracy_table(results), figure_table(results)]
    return Section("accuracy", "Few-shot classification", text, figures, shown, warnings)


def _paired(results: FewShotResults) -> Section:
    name = NAMES[results.reference]
    effects = results.compare(results.mean_accuracy)
    rows = [plots.ForestRow(NAMES[method], e.mean, e, points(e.mean)) for method, e in effects.items()]
    caption = f"{name} minus each method, accuracy in points averaged over shots, {WITHIN}."
    figures = [picture(plots.forest(rows, f"{name} minus …, points", zero=0), caption)] if rows else []
    text = f"Is {name} better? To the right of zero it is; an interval that holds zero says that nobody knows."
    return Section("paired", f"{name} against the others", text, figures, [paired_table(results)])


def _generalized(results: FewShotResults) -> Section:
    text = "Learnt from the first half of the classes, tested on both halves. What new classes lose, words had known."
    return Section("base_to_new", "From base to new classes", text, tables=[base_to_new_table(results)])


def _at(results: FewShotResults, shots: int) -> Callable[[str], Scores]:
    return lambda method: results.accuracy(method, shots)


def _share(scores: Scores) -> str:
    ends = interval_of(scores.points, scores.images)
    return f"{percent(scores.accuracy)} ({interval(Interval(*np.clip((ends.low, ends.high), 0, 1)))})"


def _difference(effect: Effect) -> str:
    return f"{points(effect.mean)} ({interval(effect, signed=True)})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _plain(results: FewShotResults) -> Mapping[str, object]:
    """Accuracies of every seed, by method."""

    def of(scores: Scores) -> list[float]:
        return [float(mean) for mean in scores.points.mean(1)]

    methods: Sequence[str] = list(results.classified)
    return {
        "classes": list(results.names),
        "accuracy": {m: {str(k): of(results.accuracy(m, k)) for k in results.shots} for m in methods},
        "base_to_new": {m: {side: of(s) for side, s in results.base_to_new(m).items()} for m in methods},
        "paired": to_plain(results.compare(results.mean_accuracy)),
    }
