"""Entry points of the console scripts ``medgraph`` and ``lightning``.

MedGraph runs ``lightning run FILE.py …``. Lightning itself has no such command since 2.5.1, but other distributions
(lightning-sdk, litserve) install a script of the same name; whatever else is typed goes to them, unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from medgraph.console import USER_ERROR

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

INSTALLS_ON_CALL = "litserve"
"""Its ``lightning`` runs ``pip install lightning-sdk`` without asking, so it is never called."""

USAGE = """\
usage: lightning run FILE.py [key=value …]

This `lightning` belongs to MedGraph and runs its experiments; no other installed package has a `lightning` command to
pass anything else on to. For the one of Lightning AI: pip install lightning-sdk (then `medgraph doctor`).
"""


def main() -> None:
    """Run ``medgraph``."""
    import lightning_app

    if not getattr(lightning_app, "__medgraph__", False):
        sys.exit(f"medgraph: error: {lightning_app.__file__} is not MedGraph's lightning_app; remove the other and "
                 "put ours back: pip uninstall lightning-app; pip install --force-reinstall --no-deps .")  # fmt: skip
    from lightning_app.commands import app

    app()


def lightning() -> None:
    """Run ``lightning``: experiments here, everything else in the package that also has this command."""
    if is_ours(sys.argv[1:]):
        main()
    else:
        forward()


def is_ours(arguments: Sequence[str]) -> bool:
    """Whether MedGraph answers these arguments of ``lightning``: exactly ``run FILE.py …``."""
    return len(arguments) >= 2 and arguments[0] == "run" and arguments[1].endswith(".py")


def forward() -> NoReturn:
    """Call the ``lightning`` of another distribution with the arguments as they are.

    Raises:
        SystemExit: with its exit code, or `USER_ERROR` after a usage message where there is none.
    """
    providers = [point for point in other_providers() if distribution(point) != INSTALLS_ON_CALL]
    if not providers:
        sys.stderr.write(USAGE)
        sys.exit(USER_ERROR)
    sys.exit(providers[0].load()())


def other_providers() -> list[EntryPoint]:
    """The ``lightning`` scripts that other installed distributions declare, lightning-sdk first."""
    from importlib.metadata import entry_points  # 0.1 s that `medgraph --help` does not need

    points = {point.value: point for point in entry_points(group="console_scripts", name="lightning")}
    others = [point for point in points.values() if point.module != __name__]
    return sorted(others, key=lambda point: (distribution(point) != "lightning-sdk", distribution(point)))


def distribution(point: EntryPoint) -> str:
    """Name of the distribution that declares an entry point, as pip writes it."""
    return point.dist.name.lower().replace("_", "-") if point.dist else ""
