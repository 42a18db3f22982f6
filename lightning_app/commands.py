"""The commands of ``medgraph``, one function each. Heavy imports belong inside: ``medgraph --help`` is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lightning_app.commands_cg import cg
from lightning_app.commands_data import data
from lightning_app.commands_extend import extend
from lightning_app.commands_inspect import estimate, inspect
from lightning_app.commands_judge import judge
from lightning_app.commands_models import export
from lightning_app.commands_predict import ask, predict
from lightning_app.commands_runs import runs
from medgraph.console import user_errors


class _Group(TyperGroup):
    """Commands whose mistakes are one line and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        with user_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Graph-aligned medical vision-language models and compositional generalization.",
)
app.add_typer(data, name="data")
app.add_typer(cg, name="cg")
app.add_typer(runs, name="runs")

FORWARDS = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""Context settings of commands that hand everything after the file to the experiment."""
Experiment = Annotated[str, typer.Argument(metavar="FILE.py", help="Experiment, e.g. experiments/exgra_10pct.py")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="key=value", help="Changes to its configuration.")]


@app.command(context_settings=FORWARDS)
def run(file: Experiment, overrides: Overrides = None) -> None:
    """Run an experiment; the same command resumes it.

    Does what `python FILE.py [key=value …]` would.
    """
    from lightning_app.launch import run_file

    run_file(file, overrides or [])


@app.command(context_settings=FORWARDS)
def config(file: Experiment, overrides: Overrides = None) -> None:
    """Print an experiment's configuration and run directory."""
    from lightning_app.launch import load_config
    from medgraph.config import run_dir, to_yaml
    from medgraph.training.recipes import resolve

    resolved = resolve(load_config(file, overrides or []))
    typer.echo(f"# run directory: {run_dir(resolved)}\n{to_yaml(resolved)}", nl=False)


@app.command()
def heads() -> None:
    """List the alignment heads and their options."""
    from lightning_app.tables import print_heads

    print_heads()


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the installation and say how to repair it.

    Exit code 1 if there is a problem.
    """
    from lightning_app.doctor import examine, to_json
    from lightning_app.tables import print_checks

    checks = examine()
    if as_json:
        typer.echo(to_json(checks))
    else:
        print_checks(checks)
    raise typer.Exit(code=0 if all(check.ok for check in checks) else 1)


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS.jsonl", help="Answers, or the folder of a run.")],
    gt: Annotated[Path | None, typer.Option(metavar="GT.json", help="The truth, if the answers lack it.")] = None,
    candidates: Annotated[Path | None, typer.Option(metavar="C.json", help="All open training answers.")] = None,
    train: Annotated[Path | None, typer.Option(metavar="TRAIN.json", help="Training questions, for controls.")] = None,
    protocol: Annotated[str, typer.Option(metavar="all|NAME,…", help="Protocols to score under.")] = "all",
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Count missing answers as wrong.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also every control, every figure.")] = False,
    as_json: Json = False,
) -> None:
    """Score answers as each published script would, beside the best control.

    Reads predictions.jsonl, answer files of LLaVA-Med and ExGra-Med, and lm-eval samples.
    """
    from lightning_app.tables import show, show_json
    from medgraph.evaluation import score_cli
    from medgraph.report.scores import render_score

    with user_errors(ValueError):
        scores = score_cli.score(predictions, gt, candidates, protocol, allow_missing, train=train)
    if as_json:
        show_json(scores.to_dict())
    else:
        show(render_score(scores, verbose))


@app.command(context_settings=FORWARDS)
def probe(
    model: Annotated[str, typer.Argument(metavar="RUN|TOWER", help="Folder of a run, or a tower by name or path.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="data=…", help="Other data to probe on.")] = None,
) -> None:
    """Measure what frozen image features know: k-NN and linear probe, and retrieval for a run.

    A run is probed on its own data unless other data is named.
    """
    from lightning_app.tables import show
    from medgraph.report.representations import render_probes
    from medgraph.training.logging import quiet
    from medgraph.training.representations import probe_model

    quiet()
    with user_errors(ValueError):
        probes, retrieval = probe_model(model, overrides or [])
    show(render_probes(probes, retrieval))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_A RUN_B …", help="Folders of runs, or prediction files.")],
    as_json: Json = False,
) -> None:
    """Compare runs with the first one, question by question."""
    from lightning_app.tables import show, show_json
    from medgraph.evaluation import score_cli
    from medgraph.report.scores import render_comparison

    with user_errors(ValueError):
        comparison = score_cli.compare(runs)
    if as_json:
        show_json(comparison.to_dict())
    else:
        show(render_comparison(comparison))


app.command(context_settings={"ignore_unknown_options": True})(inspect)
app.command(context_settings={"ignore_unknown_options": True})(estimate)
app.command()(ask)
app.command()(predict)
app.command()(judge)
app.command()(extend)
app.command()(export)


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run.")],
    tables: Annotated[str, typer.Option(metavar="md|latex|csv", help="Print its tables instead.")] = "",
) -> None:
    """Render report.html, failures.html and tables/ of a finished run again."""
    from medgraph.config import ConfigError

    if not (run_dir / "results.json").is_file():
        raise ConfigError(f"{run_dir} is not the folder of a finished run: it has no results.json")
    from medgraph.report.run import answers_questions, read_run_tables, write_report
    from medgraph.report.tables import FORMATS

    if not answers_questions(run_dir):
        raise ConfigError(
            f"{run_dir} holds no answers to questions: the page of such a run is written once, at its end"
        )
    if not tables:
        typer.echo(write_report(run_dir))
        return
    if tables not in FORMATS:
        raise ConfigError(f"--tables {tables}: expected one of {', '.join(FORMATS)}")
    _, render = FORMATS[tables]
    for table in read_run_tables(run_dir):
        typer.echo(render(table.header, table.rows, table.caption))
