import io

from rich.console import Console

from medgraph.evaluation.score_cli import compare, score
from medgraph.report.scores import render_comparison, render_score


def shown(renderable) -> str:
    console = Console(width=220, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_scores_of_a_run_are_shown_with_protocol_and_interval(run_dir):
    report = score(run_dir, protocol="strict,exgra,medevalkit", resamples=50)
    text = shown(render_score(report))
    for expected in ("strict", "exgra", "medevalkit", "without the image", "160 questions on 40 images", "–"):
        assert expected in text
    models = sum(group.control == "none" for group in report.groups)
    assert text.count("best control") == models
    details = shown(render_score(report, verbose=True))
    assert details.startswith(text[: text.index("Headline")])
    assert len(details.splitlines()) > 2 * len(text.splitlines()), "a table for every control"


def test_comparison_is_shown_with_its_power(run_dir):
    text = shown(render_comparison(compare([run_dir, run_dir], resamples=50)))
    assert "+0.0" in text
    assert "n = 160 separates differences above" in text
