import dataclasses
import json

import pytest

from medgraph.evaluation.predictions import PredictionWriter, parse_prediction, read_predictions


def test_what_is_written_is_read(tmp_path, make_prediction):
    written = [
        make_prediction("1", answer="Lymphödem\n", prediction=""),
        make_prediction("1", control="no_image"),
        make_prediction("2", answer_type="choice", options=("a", "b"), answer="a", prediction="B"),
    ]
    with PredictionWriter(tmp_path / "new" / "predictions.jsonl") as writer:
        writer.write(written)
    assert read_predictions(tmp_path / "new" / "predictions.jsonl") == written


def test_a_killed_run_continues_after_its_last_whole_line(tmp_path, make_prediction):
    path = tmp_path / "predictions.jsonl"
    with PredictionWriter(path) as writer:
        writer.write([make_prediction("1"), make_prediction("2")])
        assert len(path.read_text().splitlines()) == 2, "lines must reach the disk before the file is closed"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with PredictionWriter(path) as writer:
        assert writer.done == {("1", "test", "none")}
        writer.write([make_prediction("2")])
    assert path.read_bytes() == whole


def test_a_file_with_nothing_but_a_torn_line_starts_anew(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": "1", "ima')
    with PredictionWriter(path) as writer:
        assert writer.done == set()
    assert path.read_text() == ""


def test_writing_a_key_twice_is_refused(tmp_path, make_prediction):
    with PredictionWriter(tmp_path / "p.jsonl") as writer:
        writer.write([make_prediction("1")])
        with pytest.raises(ValueError, match="already written"):
            writer.write([make_prediction("1")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 3}, "'answer' must be text, found 3"),
        ({"answer_type": "CLOSED "}, "'answer_type' must be one of closed, open, choice"),
        ({"score": 1.5}, r"'score' must be a number in \[0, 1\], found 1.5"),
        ({"score": None}, "'score' must be a number"),
        ({"options": "AB"}, "'options' must be a list"),
        ({"triplet": "CT"}, "'CT' is not a triplet"),
        ({"txt": ""}, "unknown field 'txt'"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path, make_prediction, change, message):
    path = tmp_path / "p.jsonl"
    good = dataclasses.asdict(make_prediction("1"))
    path.write_text(json.dumps(good) + "\n\n" + json.dumps({**good, "id": "2", **change}) + "\n")
    with pytest.raises(ValueError, match=f"p.jsonl:3: .*{message}"):
        read_predictions(path)


def test_missing_fields_broken_json_and_repeated_keys(tmp_path, make_prediction):
    with pytest.raises(ValueError, match="'image_id' is missing"):
        parse_prediction({"id": "1"})
    with pytest.raises(ValueError, match="expected a JSON object, found list"):
        parse_prediction([])
    path = tmp_path / "p.jsonl"
    line = json.dumps(dataclasses.asdict(make_prediction("1"))) + "\n"
    path.write_text(line + "{oops\n")
    with pytest.raises(ValueError, match=r"p\.jsonl:2: not JSON"):
        read_predictions(path)
    path.write_text(line + line)
    with pytest.raises(ValueError, match=r"p\.jsonl:2: question '1'.*line 1"):
        read_predictions(path)
