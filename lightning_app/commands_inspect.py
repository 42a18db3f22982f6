"""``medgraph inspect`` and ``medgraph estimate``: look at an experiment before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraph.console import user_errors

Experiment = Annotated[str, typer.Argument(metavar="FILE.py", help="Experiment, e.g. experiments/exgra_10pct.py")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="key=value", help="Changes to its configuration.")]


def inspect(
    file: Experiment,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, task, val, test or ood.")] = "train",
    n: Annotated[int, typer.Option("--n", min=1, help="Samples to show.")] = 3,
    html: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Also print token ids.")] = False,
) -> None:
    """Show what the model is fed: text, supervised tokens, views, image.

    Samples come from the first batch of the run itself.
    """
    from lightning_app.launch import load_config
    from lightning_app.tables import show
    from medgraph.report.inspection import render_inspection, write_inspection
    from medgraph.training.inspection import inspect_split
    from medgraph.training.logging import quiet

    config = load_config(file, overrides or [])
    quiet()
    with user_errors(ValueError):
        inspection = inspect_split(config, split, n)
    show(render_inspection(inspection, ids))
    if html:
        typer.echo(write_inspection(inspection, html))


def estimate(
    file: Experiment,
    overrides: Overrides = None,
    gpu: Annotated[str, typer.Option(metavar="NAME", help="Plan for an H200, A100 … [this machine].")] = "",
) -> None:
    """Estimate memory and time of each stage; no weights are needed.

    Exit code 2 if weights, gradients and optimiser alone do not fit.
    """
    from lightning_app.launch import load_config
    from lightning_app.tables import show
    from medgraph.report.estimate import render_estimate
    from medgraph.training.estimate import check_memory, estimate_experiment
    from medgraph.training.logging import quiet

    config = load_config(file, overrides or [])
    quiet()
    with user_errors(ValueError):
        needed = estimate_experiment(config, gpu)
        show(render_estimate(needed))
        for warning in check_memory(needed):
            typer.echo(warning, err=True)
