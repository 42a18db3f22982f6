import sys

import pytest

from medgraph import cli


@pytest.fixture
def medgraph(monkeypatch, capsys):
    """Run a command; return exit code, standard output and standard error."""

    def medgraph(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["/bin/medgraph", *map(str, arguments)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code or 0, captured.out, captured.err

    return medgraph
