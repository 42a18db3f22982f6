"""``medgraph export``: the model of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraph.console import user_errors


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the model.")],
) -> None:
    """Save a trained model in the llava-hf format.

    Adapters are merged first. Transformers, vLLM and model.vlm=FOLDER read the result.
    """
    from medgraph.models.llava_format import export_llava
    from medgraph.models.lora import merge_lora
    from medgraph.training.logging import quiet
    from medgraph.training.trained import load_trained

    quiet()
    trained = load_trained(run)
    if trained.unfinished:
        typer.echo(f"warning: {', '.join(trained.unfinished)} of {run} not finished, not in the model", err=True)
    with user_errors(ValueError):
        merge_lora(trained.vlm)
        difference = export_llava(trained.vlm, folder)
    typer.echo(f"{folder}: its logits differ by {difference:.1e} of the largest one")
