"""Plans: every run of a study, known and counted before anything trains.

A plan is a folder with ``plan.json``; its runs are folders in ``runs/``, named by a hash of what they compute, so that
experiments share them (a target's zero-shot run, a subset that trains alone) and a longer plan keeps what is done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from medgraph.cg.combinations import DIRECTIONS, Combination, Direction, enumerate_combinations
from medgraph.cg.experiments import CONDITIONS, KINDS, PAPER_CONDITIONS, Arm, Designer, Experiment, Kind
from medgraph.cg.relations import subset_of
from medgraph.cg.starts import Start, start_config
from medgraph.config import ConfigError, ExperimentConfig
from medgraph.config.errors import first_few
from medgraph.data.subsets import Pool, read_pool
from medgraph.files import write_json
from medgraph.progress import track

FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training run.

    Attributes:
        key: hash of everything that it computes (12 hex digits); its folder.
        target: tested subset.
        counts: images of each training subset; empty: nothing trains.
        labels: ``true`` or ``shuffled``.
        seed: of the draw, the initialisation and the order.
        steps: optimiser steps of stages 1 and 2.
        batch_sizes: images a step in stages 1 and 2.
        overrides: arguments of the experiment, the backbone's included.
    """

    key: str
    target: str
    counts: Mapping[str, int]
    labels: str
    seed: int
    steps: tuple[int, int]
    batch_sizes: tuple[int, int]
    overrides: tuple[str, ...]

    @property
    def images(self) -> int:
        """Training images."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """Experiments and their runs.

    Attributes:
        sources: name and options of each data source.
        data: fingerprint of the pool.
        experiments: what is asked.
        seeds: of every arm.
        backbones: name to overrides; one without a name where none is chosen.
        runs: by key, each once.
        cells: key of the run of (experiment, backbone, arm, seed), joined by tabs.
        notes: experiments that could not be designed, and why.
        triplets: modality/area/task of every subset of the pool, by key.
        starts: what the runs start from, once for all that have the same overrides.
    """

    sources: tuple[Mapping[str, Any], ...]
    data: str
    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]
    backbones: Mapping[str, tuple[str, ...]]
    runs: Mapping[str, PlannedRun]
    cells: Mapping[str, str]
    notes: tuple[str, ...] = ()
    triplets: Mapping[str, str] = field(default_factory=dict)
    starts: tuple[Start, ...] = ()

    def run_of(self, experiment: Experiment, backbone: str, arm: str, seed: int) -> PlannedRun:
        """The run behind one cell."""
        return self.runs[self.cells["\t".join((experiment.name, backbone, arm, str(seed)))]]

    def save(self, folder: Path) -> None:
        """Write ``plan.json``.

        Raises:
            ConfigError: if the folder has another plan of which runs have started.
        """
        file = folder / FILE
        if file.exists():
            old = json.loads(file.read_text(encoding="utf-8"))
            started = [key for key in old["runs"] if (folder / "runs" / key).exists()]
            if lost := [key for key in started if key not in self.runs]:
                raise ConfigError(f"{file}: this plan leaves out {len(lost)} runs that have started, e.g. "
                                  f"runs/{lost[0]}; plan into another folder, or remove them")  # fmt: skip
            if started:
                _refuse_changes(file, [Start(**_frozen(start)) for start in old.get("starts", ())], self.starts)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read ``plan.json``.

        Raises:
            ConfigError: if there is none, it has been edited, or another version wrote something else.
        """
        file = folder / FILE
        if not file.is_file():
            raise ConfigError(f"{folder} has no {FILE}; make one with medgraph cg plan {folder} …")
        raw = json.loads(file.read_text(encoding="utf-8"))
        try:
            experiments = tuple(
                Experiment(**{**_frozen(raw_one), "arms": tuple(Arm(**_frozen(arm)) for arm in raw_one["arms"])})
                for raw_one in raw["experiments"]
            )
            runs = {key: PlannedRun(**_frozen(run)) for key, run in raw["runs"].items()}
            backbones = {name: tuple(overrides) for name, overrides in raw["backbones"].items()}
            starts = {tuple(start["overrides"]): Start(**_frozen(start)) for start in raw["starts"]}
            plan = cls(**{**_frozen(raw), "experiments": experiments, "runs": runs, "backbones": backbones,
                          "starts": tuple(starts.values())})  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"{file}: another version of MedGraph wrote it, with other contents ({error}); use that version, or "
                "give the same arguments to medgraph cg plan with another folder"
            ) from error
        for key, run in plan.runs.items():
            if run.overrides not in starts or key != _key(plan.sources, plan.data, run, starts[run.overrides]):
                raise ConfigError(f"{file}: run {key} was edited; change the arguments of medgraph cg plan instead")
        return plan

    @classmethod
    def load_to_run(cls, folder: Path) -> Plan:
        """Read ``plan.json``, whose runs would still do today what they were planned to do.

        Raises:
            ConfigError: as `load`, and naming what has changed.
        """
        plan = cls.load(folder)
        distinct = track([start.overrides for start in plan.starts], "reading the plan")
        _refuse_changes(folder / FILE, plan.starts, [Start.now(overrides) for overrides in distinct])
        return plan


def _refuse_changes(file: Path, planned: Sequence[Start], now: Sequence[Start]) -> None:
    """Refuse other defaults or weights than those that a plan was made with."""
    today = {start.overrides: start for start in now}
    same = [(start, today[start.overrides]) for start in planned if start.overrides in today]
    changed = list(dict.fromkeys(change for start, other in same for change in start.changes(other)))
    if changed:
        raise ConfigError(
            f"{file}: since it was planned, {first_few(changed, separator='; ')}. New runs would differ from those "
            "that have finished: give the same arguments to medgraph cg plan with another folder, or use the version "
            "that planned this one"
        )


def _frozen(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields read from JSON, with tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def make_plan(
    sources: Sequence[Mapping[str, Any]],
    *,
    kinds: Sequence[Kind] = ("combination",),
    targets: Sequence[str] = (),
    related: Sequence[str] = (),
    directions: Sequence[Direction] = (),
    conditions: Sequence[str] = PAPER_CONDITIONS,
    seeds: int = 5,
    images: int = 3000,
    backbones: Mapping[str, Sequence[str]] | None = None,
    overrides: Sequence[str] = (),
    limit: int | None = None,
) -> Plan:
    """Design experiments and list their runs.

    Args:
        sources: name and options of each data source, e.g. ``[{"name": "medmat", "root": PATH}]``.
        kinds: what is asked.
        targets: keys or numbers of subsets; empty: all that can be tested.
        related: subsets to combine for the one target, instead of those enumerated.
        directions: of combinations; empty: all.
        conditions: of combinations.
        seeds: of every arm: 0, 1 …
        images: largest number of training images of an arm.
        backbones: overrides by name; every arm runs with each.
        overrides: ``key=value`` arguments for every run.
        limit: combinations of each direction at most, taken evenly from all.

    Raises:
        ConfigError: for a mistake in the arguments, or a named target on which an experiment is impossible.
    """
    _known("kind", kinds, KINDS)
    _known("direction", directions, DIRECTIONS)
    _known("condition", conditions, CONDITIONS)
    if seeds < 1 or images < 1 or (limit is not None and limit < 1):
        raise ConfigError(f"seeds={seeds} images={images} limit={limit}: expected at least 1")
    pool = read_pool(sources)
    keys = [subset_of(pool.registry, target).key for target in targets]
    designer = Designer(pool, images)
    if related:
        if len(keys) != 1:
            raise ConfigError(f"related={','.join(related)}: name one target to combine them for")
        chosen = tuple(subset_of(pool.registry, key).key for key in related)
        experiments, notes = [designer.recombine(keys[0], chosen, conditions=conditions)], list[str]()
    else:
        experiments, notes = _design(designer, kinds, keys, directions, conditions, limit)
    if not experiments:
        raise ConfigError("nothing to run: " + ("; ".join(notes) or "no combination of these subsets makes a target"))
    named = {name: tuple(values) for name, values in (backbones or {"": ()}).items()}
    data = _fingerprint(pool)
    runs, cells, starts = {}, {}, {}
    for backbone, extra in named.items():
        given = (*overrides, *extra)
        config = start_config(given)
        start = starts[given] = Start.now(given, config)
        for experiment in track(experiments, "planning runs"):
            capacity = designer.capacity(experiment.target)
            for arm, seed in product(experiment.arms, range(seeds)):
                counts = arm.counts(capacity, experiment.target, seed)
                run = PlannedRun(
                    key="",
                    target=experiment.target,
                    counts=counts,
                    labels="shuffled" if arm.shuffled else "true",
                    seed=seed,
                    overrides=given,
                    **_length(config, counts, arm.steps),
                )
                key = _key(sources, data, run, start)
                runs[key] = dataclasses.replace(run, key=key)
                cells["\t".join((experiment.name, backbone, arm.name, str(seed)))] = key
    triplets = {spec.key: str(spec.triplet) for spec in pool.registry}
    return Plan(
        tuple(sources), data, tuple(experiments), tuple(range(seeds)), named, runs, cells, tuple(notes), triplets,
        tuple(starts.values()),
    )  # fmt: skip


def arguments(plan: Plan, run: PlannedRun) -> list[str]:
    """Command line of a run, beside where its folder is."""
    train = json.dumps([f"{key}:{count}" for key, count in run.counts.items()])
    return [
        *run.overrides,
        f"data.sources={json.dumps(plan.sources)}",
        f"data.train={train}",
        f"data.target={run.target}",
        f"data.labels={run.labels}",
        f"data.seed={run.seed}",
        f"seed={run.seed}",
        *(f"stage{i}.steps={steps}" for i, steps in enumerate(run.steps, start=1)),
        *(f"stage{i}.batch_size={size}" for i, size in enumerate(run.batch_sizes, start=1)),
    ]


def _design(
    designer: Designer, kinds: Sequence[Kind], targets: Sequence[str], directions: Sequence[Direction],
    conditions: Sequence[str], limit: int | None,
) -> tuple[list[Experiment], list[str]]:  # fmt: skip
    """Experiments in a fixed order; those that are impossible become notes, unless their target was named."""
    registry = designer.pool.registry
    classes = list(targets) or [spec.key for spec in registry if spec.kind == "cls"]
    makers: list[tuple[str, Callable[[], Experiment]]] = []
    for kind, recombine in (("combination", designer.combination), ("detection", designer.detection)):
        if kind not in kinds:
            continue
        found = [c for c in enumerate_combinations(registry, directions or DIRECTIONS, detection=kind == "detection")
                 if not targets or registry[c.target].key in targets]  # fmt: skip
        if limit is not None:
            alike = [[c for c in found if c.direction == direction] for direction in DIRECTIONS]
            found = [combination for group in alike for combination in _evenly(group, limit)]
        makers += [(registry[c.target].key, partial(recombine, c, conditions)) for c in found]
    single: dict[str, Callable[[str], Experiment]] = {
        "break": designer.break_up,
        "overlap": designer.overlap,
        "low_data": designer.low_data,
        "scale": designer.scale,
        "multi_task": designer.multi_task,
    }
    makers += [(key, partial(make, key)) for kind, make in single.items() if kind in kinds for key in classes]
    experiments: list[Experiment] = []
    notes: list[str] = []
    for key, make in makers:
        try:
            experiments.append(make())
        except ConfigError as error:
            if key in targets:
                raise
            notes.append(str(error))
    return experiments, list(dict.fromkeys(notes))


def _evenly(found: Sequence[Combination], limit: int) -> Sequence[Combination]:
    return found if len(found) <= limit else [found[i * len(found) // limit] for i in range(limit)]


def _length(config: ExperimentConfig, counts: Mapping[str, int], share: float) -> dict[str, tuple[int, int]]:
    """Optimiser steps and batch sizes of stages 1 and 2 on so many images; a batch is never larger than all of them."""
    images, steps, sizes = sum(counts.values()), [], []
    for stage in (config.stage1, config.stage2):
        size = min(stage.batch_size or 1, max(1, images))
        whole = (stage.steps or 0) if stage.epochs is None else round(stage.epochs * (images // size))
        steps.append(max(1, round(share * whole)) if images and whole else 0)
        sizes.append(size)
    return {"steps": (steps[0], steps[1]), "batch_sizes": (sizes[0], sizes[1])}


def _key(sources: Sequence[Mapping[str, Any]], data: str, run: PlannedRun, start: Start) -> str:
    what = {**asdict(run), "key": "", "sources": list(sources), "data": data, "weights": start.weights}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


def _fingerprint(pool: Pool) -> str:
    digest = hashlib.sha256()
    for key, records in pool.records.items():
        for record in records:
            digest.update(f"{key}\t{record.id}\t{record.image}\t{record.question}\t{record.answer}\n".encode())
    return digest.hexdigest()[:16]


def _known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{what} {name!r} is unknown; known: {', '.join(known)}")


def describe(plan: Plan) -> Iterator[tuple[Experiment, str, Arm, list[PlannedRun]]]:
    """Every arm of a plan with its runs, one a seed."""
    for experiment in plan.experiments:
        for backbone in plan.backbones:
            for arm in experiment.arms:
                yield experiment, backbone, arm, [plan.run_of(experiment, backbone, arm.name, s) for s in plan.seeds]
