"""The combinations of a study: Table 3 of Med-MAT (arXiv:2412.20070), our verdict beside it, and what chance does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medgraph.cg.combinations import DIRECTIONS
from medgraph.cg.outcomes import Outcome
from medgraph.cg.published import PublishedRow
from medgraph.cg.verdicts import Verdict, judge
from medgraph.evaluation.effects import Effect
from medgraph.evaluation.plain import to_plain
from medgraph.evaluation.statistics import Interval, wilson
from medgraph.report.cg_study import CgStudy
from medgraph.report.tables import RunTable
from medgraph.report.words import arm_name, interval, p_value, percent, points

ARM = "related"
CONTROLS = ("zero_shot", "baseline_plus")
BY_CHANCE = ("placebo", "label_shuffled")
"""Arms that cannot help: what a verdict finds in them, it finds by chance or because any training changes answers."""


@dataclass(frozen=True, slots=True)
class Row:
    """A combination whose arms have come far enough to be judged.

    Attributes:
        number: in the plan, from 1.
        outcome: the combination.
        verdict: on the related subsets.
        published: what the paper may say of it.
    """

    number: int
    outcome: Outcome
    verdict: Verdict
    published: Sequence[PublishedRow]

    def effect(self, control: str) -> Effect | None:
        """Difference to a control, where the row has it."""
        return next((effect for effect in self.verdict.effects if effect.control == control), None)


def judged(study: CgStudy, arm: str = ARM) -> list[Row]:
    """Judge an arm of all combinations of which neither it nor a control is still to come; sorted by direction."""
    waiting = {arm, *CONTROLS}
    ready = {outcome.name: outcome for outcome in study.of("combination") if not waiting & set(outcome.unfinished)}
    verdicts = judge({name: outcome.scores for name, outcome in ready.items()}, arm, CONTROLS)
    rows = [Row(study.numbers[v.row], ready[v.row], v, study.published(ready[v.row])) for v in verdicts]
    order = [*DIRECTIONS, "chosen"]
    return sorted(rows, key=lambda row: (order.index(row.outcome.experiment.direction), row.number))


def table_three(study: CgStudy, rows: Sequence[Row]) -> RunTable:
    """The paper's Table 3, with its rows beside ours."""
    lines, records = [], []
    for row in rows:
        experiment, scores = row.outcome.experiment, row.outcome.scores
        accuracies = [percent(scores[name].accuracy, 0) if name in scores else "" for name in (*CONTROLS, ARM)]
        lines.append((
            str(row.number), experiment.direction.replace("_", " "), study.related(row.outcome),
            study.label(experiment.target), *([row.outcome.backbone] if study.several_backbones else []),
            *accuracies, _tick(row.verdict.ticked), "; ".join(map(_printed, row.published)),
        ))  # fmt: skip
        records.append({
            "number": row.number, "experiment": row.outcome.name, "direction": experiment.direction,
            "related": experiment.related, "target": experiment.target, "backbone": row.outcome.backbone,
            "accuracy": {name: scores[name].accuracy for name in (*CONTROLS, ARM) if name in scores},
            "ticked": row.verdict.ticked, "published": to_plain(list(row.published)),
        })  # fmt: skip
    backbone = ["backbone"] * study.several_backbones
    header = ["#", "direction", "related subsets", "target", *backbone, *map(arm_name, CONTROLS), ARM, "ticked",
              "published"]  # fmt: skip
    caption = (
        f"{study.score}, mean over {study.seeds}, in the layout of Med-MAT's Table 3. Ticked by the paper's rule: "
        "above zero-shot and Baseline+ (as many unrelated images) in whole percents."
    )
    if any(row.published for row in rows):
        caption += (
            " Published: the row of the paper that this may be, zero-shot / Baseline+ / trained, on other images."
        )
    else:
        header, lines = header[:-1], [line[:-1] for line in lines]
    texts = 4 + len(backbone)
    return RunTable("combinations", "As the paper shows it", header, lines, caption, texts, records=records)


def verdict_table(study: CgStudy, rows: Sequence[Row]) -> RunTable:
    """Differences to both controls, tests, our verdict, power, and what of the target the related subsets contain."""
    lines, records = [], []
    for row in rows:
        effects = [cell for control in CONTROLS for cell in _effect_cells(row.effect(control))]
        covered = study.coverage(row.outcome)
        lines.append((
            study.title(row.outcome), *effects, "yes" if row.verdict.helps else "no",
            f"{row.verdict.questions:,}", percent(row.verdict.detectable), _initials(covered),
        ))  # fmt: skip
        records.append({"number": row.number, **to_plain(row.verdict), "covered": covered})
    names = [arm_name(control) for control in CONTROLS]
    effect_header = [cell for name in names for cell in (f"− {name}", f"p, {name}")]
    questions = span(row.verdict.questions for row in rows)
    header = ("combination", *effect_header, "helps", "n", "detectable", "contains")
    caption = (
        "Differences of the related arm in points with 95 % intervals over seeds and images. p: exact paired test "
        "over images (McNemar's, with one seed), corrected by Holm for all tests of this table. Helps: both intervals "
        "above zero and both p < 0.05. Detectable: smallest difference, in points, that "
        f"{questions} questions find with a power of 80 %. Contains: pairs of elements (M, A, T) of the target that "
        "one related subset has in the fine view, and other elements that one has."
    )
    return RunTable("verdicts", "With tests and intervals", header, lines, caption, records=records)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a rule says yes.

    Attributes:
        arm: which was judged.
        rule: ``ticked`` or ``helps``.
        yes: rows.
        rows: in all.
        interval: Wilson's, as if rows were independent.
    """

    arm: str
    rule: str
    yes: int
    rows: int
    interval: Interval

    def __str__(self) -> str:
        return f"{self.yes} of {self.rows}, {percent(self.yes / self.rows, 0)} % ({interval(self.interval)})"


Rates = Mapping[str, tuple[Rate, Rate]]
"""Ticked and helps, by arm."""


def rates(study: CgStudy, rows: Sequence[Row]) -> Rates:
    """How often related subsets, and arms that cannot help, are ticked by the paper's rule and help by ours."""
    found = {}
    for arm, of_arm in ((ARM, rows), *((arm, judged(study, arm)) for arm in BY_CHANCE)):
        if of_arm:
            said = {"ticked": [row.verdict.ticked for row in of_arm], "helps": [row.verdict.helps for row in of_arm]}
            counted = [Rate(arm, rule, sum(yes), len(yes), wilson(sum(yes), len(yes))) for rule, yes in said.items()]
            found[arm] = (counted[0], counted[1])
    return found


def chance_table(found: Rates) -> RunTable:
    """What chance does: arms that cannot help, judged like the related subsets."""
    lines = [(arm_name(arm), str(pair[0].rows), *map(str, pair)) for arm, pair in found.items()]
    header = ("judged arm", "rows", "ticked by the paper's rule", "helps by our verdict")
    caption = (
        "Every arm judged in the same way against zero-shot and Baseline+. Placebo: other unrelated subsets; shuffled "
        "labels: the related images with each other's questions and answers. 95 % intervals by Wilson, which take "
        "rows as independent; rows of one target are not."
    )
    records = [to_plain(rate) for pair in found.values() for rate in pair]
    return RunTable("chance", "What chance does", header, lines, caption, records=records)


def backbone_table(study: CgStudy, rows: Sequence[Row]) -> RunTable:
    """Zero-shot to trained for every combination and backbone (Med-MAT, Tables 9, 11, 12 and 15)."""
    names = list(study.plan.backbones)
    lines: dict[str, list[str]] = {}
    records = []
    for row in rows:
        title = f"{study.related(row.outcome)} → {study.label(row.outcome.experiment.target)}"
        line = lines.setdefault(row.outcome.experiment.name, [title, *[""] * len(names)])
        scores = row.outcome.scores
        before = f"{percent(scores['zero_shot'].accuracy)} → " if "zero_shot" in scores else ""
        place = 1 + names.index(row.outcome.backbone)
        line[place] = f"{before}{percent(row.verdict.accuracy)} {_tick(row.verdict.ticked)}{'*' * row.verdict.helps}"
        records.append({"experiment": row.outcome.experiment.name, "backbone": row.outcome.backbone,
                        "accuracy": {name: scores[name].accuracy for name in (*CONTROLS, ARM) if name in scores},
                        "ticked": row.verdict.ticked, "helps": row.verdict.helps})  # fmt: skip
    caption = f"{study.score}, zero-shot → related. ✓: ticked by the paper's rule; *: helps by our verdict."
    header = ("combination", *names)
    return RunTable("backbones", "Backbones", header, list(lines.values()), caption, records=records)


def _effect_cells(effect: Effect | None) -> tuple[str, str]:
    if effect is None:
        return "no such arm", ""
    return f"{points(effect.mean)} ({interval(effect, signed=True)})", p_value(effect.p_holm)


def _printed(row: PublishedRow) -> str:
    values = (row.zero_shot, row.baseline_plus, row.trained)
    return f"T{row.table}.{row.row}: {' / '.join('–' if v is None else str(v) for v in values)} {_tick(row.ticked)}"


def _tick(yes: bool) -> str:
    return "✓" if yes else "✗"


def _initials(parts: Sequence[str]) -> str:
    """Pairs, and elements that are in none of them: ``MA T``."""
    sets = [set(part.split("+")) for part in parts]
    largest = [part for part, own in zip(parts, sets, strict=True) if not any(own < other for other in sets)]
    return " ".join("".join(word[0].upper() for word in part.split("+")) for part in largest) or "nothing"


def span(numbers: Iterable[int]) -> str:
    """``200``, or ``33 to 200``."""
    found = sorted(set(numbers))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"
