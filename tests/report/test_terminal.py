import io

from rich.console import Console

from medgraph.evaluation.results import Results
from medgraph.report.terminal import terminal_table


def test_terminal_table_has_model_and_controls_of_every_split(run_dir):
    results = Results.load(run_dir / "results.json")
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table(results))
    text = console.file.getvalue()
    assert text.count("without the image") == 2
    assert f"{100 * results.get('ood').overall.accuracy:.1f}" in text
    assert "Unseen combinations" in text
    assert "…" not in text
