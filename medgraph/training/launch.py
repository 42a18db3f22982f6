"""Entry point of experiment files: a mistake on the command line is answered before anything heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from medgraph.config import ExperimentConfig, parse
from medgraph.console import user_errors

if TYPE_CHECKING:
    from medgraph.training.run import Outcome


def launch(config: Callable[[], ExperimentConfig], argv: Sequence[str] | None = None, **options: Any) -> Outcome:
    """Parse the command line over an experiment's configuration and run it.

    A mistake of the user's ends in one line and exit code 2, an interrupt in a resumable state.

    Args:
        config: function that returns the experiment's configuration.
        argv: ``key=value`` arguments; default those of the process.
        options: further arguments of `medgraph.training.run.run`.
    """
    with user_errors():
        parsed = parse(config(), sys.argv[1:] if argv is None else argv)
        from medgraph.training.run import run

        return run(parsed, **options)
