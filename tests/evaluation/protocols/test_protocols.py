import json
from pathlib import Path

import pytest

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols import PROTOCOLS, get_protocol, score_protocol
from medgraph.evaluation.protocols.llava import normalise_llava
from medgraph.evaluation.protocols.medevalkit import extract_answer
from medgraph.evaluation.protocols.protocol import Candidates

ORACLES = Path(__file__).parents[4] / "shared" / "oracles"
NAMES = {
    "exact match score": "exact_match", "exact_match_score": "exact_match", "f1 score": "f1", "f1_score": "f1",
    "bleu_score": "bleu", "bleu_score_1": "bleu1", "bleu_score_2": "bleu2", "bleu_score_3": "bleu3",
    "open accuracy": "open_accuracy", "open em": "open_accuracy", "yes/no accuracy": "closed_accuracy",
    "recall_closed": "closed_recall", "AVG(open recall, closed acc)": "average",
    "closed accuracy (yes/no questions only)": "closed_accuracy", "total acc": "total_accuracy",
    "closed acc (answer is yes/no)": "closed_accuracy",
}  # fmt: skip
OFFICIAL = {"exgra_pvqa": "pvqa_legacy", "sure_vqa": "sure", "medevalkit": "medevalkit_legacy"}


@pytest.fixture
def answers(make_prediction):
    """Make closed (yes/no) and open questions from (truth, prediction) pairs."""

    def make(closed=(), open=()):
        made = [
            make_prediction(f"c{i}", answer_type="closed", answer=a, prediction=p) for i, (a, p) in enumerate(closed)
        ]
        return made + [make_prediction(f"o{i}", answer=a, prediction=p) for i, (a, p) in enumerate(open)]

    return make


def value(predictions, protocol: str, figure: str, **options) -> float:
    return score_protocol(predictions, protocol, resamples=0, **options).get(figure).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x-ray", "x ray"), ("x-ray - chest", "xray chest"), ("1,000 (mm)", "1000 mm"), ("none", "0"), ("the a an", ""),
        ("isnt it dont", "isn't it don't"), ("left; right", "left right"), ("3.5 cm.", "3.5 cm"),
        ("couldntve", "couldntve"), ("couldn'tve", "couldn't've"), ("a:b*c'd", "a:b*c'd"),
    ],
)  # fmt: skip
def test_normalise_llava(text, expected):
    assert normalise_llava(text) == expected


def test_normalise_llava_removes_32_full_stops():
    assert normalise_llava("x." * 40).count(".") == 8


def test_recall_of_the_family_counts_words_of_the_answer(answers):
    repeated = answers(open=[("left lung", "lung lung lung")])
    assert value(repeated, "exgra", "recall") == pytest.approx(75)
    assert value(repeated, "strict", "recall") == pytest.approx(50)
    assert value(repeated, "exgra", "exact_match") == pytest.approx(100 / 3)


CLOSED = [("yes", "yes"), ("no", "it is normal"), ("yes", "no"), ("no", "unclear"), ("left", "left"), ("yes", "yes no")]


@pytest.mark.parametrize(
    ("protocol", "hits", "n"),
    [
        ("exgra", 4, 6), ("llava_med_v1", 3, 6), ("pvqa_legacy", 3, 5), ("sure", 1, 5), ("medevalkit", 2, 5),
        ("strict", 2, 6),
    ],
)  # fmt: skip
def test_six_closed_answers_six_scores(answers, protocol, hits, n):
    figure = score_protocol(answers(closed=CLOSED), protocol, resamples=0).get("closed_accuracy")
    assert (round(figure.value * figure.n / 100), figure.n) == (hits, n)


def test_candidates_decide_open_accuracy(answers):
    predictions = answers(open=[("left lung", "the lung on the left"), ("heart", "heart")])
    candidates = Candidates(("kidney", "left lung", "lung"))
    assert value(predictions, "exgra", "open_accuracy", candidates=candidates) == pytest.approx(50)
    assert score_protocol(predictions, "exgra", resamples=0).get("open_accuracy").n == 0
    assert value(predictions, "exgra_batch", "open_accuracy") == pytest.approx(50)


def test_medevalkit_legacy_keeps_the_published_mistakes(answers):
    predictions = answers(open=[("left lung", "lung"), ("heart", "heart"), ("a", "")])
    fixed, legacy = (score_protocol(predictions, name, resamples=0) for name in ("medevalkit", "medevalkit_legacy"))
    assert fixed.get("precision").value == pytest.approx(200 / 3)
    assert fixed.get("recall").value == pytest.approx(50)
    assert legacy.get("recall").value == fixed.get("precision").value
    assert legacy.get("precision").value == fixed.get("f1").value
    assert legacy.get("open_accuracy").value == pytest.approx(fixed.get("open_accuracy").value / 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("<answer>Yes</answer> so", "yes"), (r"\boxed{No}", "no"), (r"boxed", "none"), ("**Answer**: left", " left")],
)
def test_extract_answer(text, expected):
    assert extract_answer(text).lower() == expected


def test_omnimedvqa_takes_the_most_similar_option(make_prediction):
    options = ("Benign", "Malignant")
    cases = [("Benign", "B", 1), ("Malignant", "it is Malignant", 1), ("Malignant", "", 0), ("Benign", "zzz", 0)]
    for answer, said, hit in cases:
        p = make_prediction("1", answer_type="choice", options=options, answer=answer, prediction=said)
        assert value([p], "omnimedvqa", "choice_accuracy") == 100 * hit


def test_truth_itself_is_perfect_under_every_corrected_protocol(answers):
    perfect = answers(closed=[("yes", "yes"), ("no", "no")], open=[("left lung", "left lung"), ("mass", "mass")])
    for name in PROTOCOLS:
        score = score_protocol(perfect, name, resamples=50)
        for figure in ("average", "closed_accuracy", "recall", "f1", "total_accuracy"):
            if figure in score.figures:
                assert score.get(figure).value == pytest.approx(100), (name, figure)


def test_no_open_or_no_closed_questions_are_absent_not_a_crash(answers):
    for predictions, there, absent in [
        (answers(closed=CLOSED), "closed_accuracy", "recall"),
        (answers(open=[("mass", "mass")]), "recall", "closed_accuracy"),
    ]:
        score = score_protocol(predictions, "exgra", resamples=20)
        assert there in score.figures
        assert absent not in score.figures
        assert "average" not in score.figures
        assert score.get(absent).n == 0
    assert score_protocol([], "exgra").figures == {}


def test_average_has_an_interval_over_images(answers):
    predictions = answers(closed=CLOSED * 1, open=[("left lung", "lung"), ("mass", "mass"), ("heart", "no")])
    figure = score_protocol(predictions, "exgra", resamples=500).get("average")
    assert figure.interval.low < figure.value < figure.interval.high
    assert figure.n == 9


def test_unknown_protocols_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown protocol 'exgr'; known: strict, likelihood"):
        get_protocol("exgr")


@pytest.mark.skipif(not ORACLES.is_dir(), reason="official scores on VQA-RAD are not on this machine")
@pytest.mark.parametrize("file", ["finetuned", "zeroshot"])
def test_every_figure_equals_the_official_scorers(file):
    folder = ORACLES / "vqa_rad_answers"
    truth = json.loads((folder / "test_gt.json").read_text())
    said = [json.loads(line) for line in (folder / f"{file}.jsonl").read_text().splitlines()]
    candidates = Candidates(tuple(map(str, json.loads((folder / "candidate.json").read_text())["0"])))
    predictions = [
        Prediction(
            id=str(t["id"]), image_id=t["image"], split="test", subset="", triplet="?/?/?", question_type="",
            answer_type=t["answer_type"].lower(), prompt=s["prompt"], answer=t["conversations"][1]["value"],
            prediction=s["text"], score=0,
        )
        for t, s in zip(truth, said, strict=True)
    ]  # fmt: skip
    compared = 0
    for official, figures in json.loads((ORACLES / "vqa_rad_scores.json").read_text())[file].items():
        score = score_protocol(predictions, OFFICIAL.get(official, official), candidates, resamples=0)
        for name, expected in figures.items():
            ours = NAMES.get(name, name.removeprefix("open "))
            assert score.get(ours).value == pytest.approx(expected, abs=1e-6), (official, name)
            compared += 1
    assert compared == 74
