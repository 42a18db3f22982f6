import csv

from medgraph.report.tables import to_csv, to_latex, to_markdown

HEADER, ROWS, CAPTION = ["arm", "95 % interval"], [["a_b & c", "−1.0 to +2.0"], ["p < 0.1", "x|y"]], "Strict, 100 %."


def test_csv_reads_back():
    lines = to_csv(HEADER, ROWS, CAPTION).splitlines()
    assert lines[0] == "# Strict, 100 %."
    assert list(csv.reader(lines[1:])) == [HEADER, *ROWS]


def test_markdown_has_one_line_a_row_and_as_many_columns():
    lines = to_markdown(HEADER, ROWS, CAPTION).splitlines()
    assert len(lines) == 6
    assert lines[-1] == r"| p < 0.1 | x\|y |"


def test_only_columns_of_numbers_are_aligned_right():
    header = ["split", "who", "n", "difference", "note"]
    rows = [["a", "x", "1,000", "reference", ""], ["b", "y", "–", "−1.0", "low"]]
    assert to_markdown(header, rows, "").splitlines()[3] == "| :-- | :-- | --: | --: | :-- |"
    assert r"\begin{tabular}{llrrl}" in to_latex(header, rows, "")


def test_latex_escapes_what_latex_reads():
    text = to_latex(HEADER, ROWS, CAPTION)
    assert r"a\_b \& c & $-$1.0 to +2.0 \\" in text
    assert r"\caption{Strict, 100 \%.}" in text
    assert r"p $<$ 0.1" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
