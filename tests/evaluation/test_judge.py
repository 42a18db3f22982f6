import json
import math

import numpy as np
import pytest

from medgraph.evaluation.chatbot import ChatItem, judge_protocol
from medgraph.evaluation.judge import Judged, expected_calls, judge_by_model, judge_by_rule, write_judged
from medgraph.evaluation.judge_scores import judged_difference, relative_score, summarise_judged
from medgraph.evaluation.statistics import cluster_bootstrap
from medgraph.llm.ask import Asker
from medgraph.llm.chat import Reply
from medgraph.llm.journal import Journal
from medgraph.llm.throttle import Throttle

BOTH, PUBLISHED = judge_protocol("both_orders"), judge_protocol("llava_med_chat")


def item(number: int, answer: str = "good") -> ChatItem:
    kind, domain = ("conversation", "detailed_description")[number % 2], ("mri", "gross")[number // 4 % 2]
    return ChatItem(str(number), f"image {number // 2}", f"Question {number}?", "the reference", answer, kind, domain)


class Judge:
    """Rates references 8 and answers by their text, and what is shown first one point higher."""

    def __init__(self, worth: dict[str, float], line: bool = False) -> None:
        self.settings, self.worth, self.line, self.asked = {"model": "judge"}, worth, line, 0

    def __call__(self, messages):
        self.asked += 1
        text = messages[1]["content"]
        shown = [part.split("]\n")[1].split("\n\n[End")[0] for part in text.split("[Assistant")[1:]]
        first, second = (self.worth.get(answer) for answer in shown)
        if first is None or second is None:
            return Reply("I like both.")
        if self.line:
            return Reply(f"{first} {second}\nSo be it.")
        return Reply(json.dumps({"reason": "", "assistant_1": first + 1, "assistant_2": second}))


@pytest.fixture
def ask(tmp_path):
    def ask(items, model, protocol=BOTH, retries=1):
        with Journal(tmp_path / "judge.jsonl") as journal:
            asker = Asker(model, journal)
            return judge_by_model(items, protocol, asker, Throttle(), 2, retries), asker.usage

    return ask


def test_both_orders_cancel_the_preference_for_the_first(ask):
    judged, _ = ask([item(i) for i in range(4)], Judge({"the reference": 8, "good": 4}))
    assert judged.ratings["0"] == [(9, 4), (8, 5)]
    report = summarise_judged(judged, "a.jsonl", "judge", resamples=100)
    assert report.groups["overall"].score == pytest.approx(100 * 9 / 17)
    # measured: (9 - 4) with the reference first, (5 - 8) with the answer first
    assert report.order_effect == pytest.approx(((9 - 4) + (5 - 8)) / 2)


def test_the_published_score_is_the_mean_of_ratios(ask):
    answers = {"good": 4, "better": 8, "best": 10}
    items = [item(i, name) for i, name in enumerate(["good", "better", "best", "good", "best"])]
    judged, _ = ask(items, Judge({"the reference": 8, **answers}, line=True), PUBLISHED)
    report = summarise_judged(judged, "a.jsonl", "judge", resamples=100)
    ratios = np.array([answers[i.answer] / 8 * 100 for i in items])
    groups = {name: group.score for name, group in report.groups.items()}
    members = {"conversation": [0, 2, 4], "detailed_description": [1, 3], "mri": [0, 1, 2, 3], "gross": [4]}
    expected = {"overall": ratios.mean()} | {name: ratios[rows].mean() for name, rows in members.items()}
    assert groups == pytest.approx(expected)
    assert report.order_effect is None
    assert report.notes == ["llava_med_chat was published on 193 questions, these are 5"]
    assert report.groups["overall"].interval.contains(ratios.mean())
    assert math.isnan(report.groups["gross"].interval.low), "one image"


def test_what_cannot_be_parsed_is_counted_and_bounds_the_score(ask):
    items = [item(0), item(1, "unspeakable"), item(2), item(3)]
    judged, usage = ask(items, Judge({"the reference": 8, "good": 8}))
    assert list(judged.failures) == ["1"]
    assert "it is not JSON" in judged.failures["1"]
    assert (judged.unusable, usage.calls) == (4, 3 * 2 + 2 * 2)
    report = summarise_judged(judged, "a.jsonl", "judge", resamples=100)
    overall = report.groups["overall"]
    assert (overall.n, overall.judged, report.failures) == (4, 3, {"invalid": 1})
    assert overall.lowest == pytest.approx(overall.score * 3 / 4)


def test_a_second_judgement_costs_nothing(ask):
    items, model = [item(i) for i in range(3)], Judge({"the reference": 8, "good": 4})
    first, _ = ask(items, model)
    second, usage = ask(items, model)
    assert (second, usage.calls, usage.recalled, model.asked) == (first, 0, 6, 6)


def test_the_rule_judge_rewards_words_of_the_reference_only():
    items = [item(0, "the reference"), item(1, "nothing"), item(2, "reference"), item(3, "")]
    judged = judge_by_rule(items, BOTH)
    answers = [judged.ratings[i.id][0][1] for i in items]
    assert answers == [10, 1, 10, 1], "articles do not count"
    assert judge_by_rule([item(0, "reference indeed")], PUBLISHED).ratings["0"] == [(10, pytest.approx(1 + 9 * 2 / 3))]


def test_a_reference_rated_zero_is_named():
    with pytest.raises(ValueError, match="question 7: the reference is rated 0"):
        relative_score("7", [(0, 5)])


def test_nothing_judged():
    with pytest.raises(ValueError, match=r"a\.jsonl: no answer could be judged; refused: no"):
        summarise_judged(Judged(BOTH, [item(0)], {}, {"0": "refused: no"}), "a.jsonl", "m")
    with pytest.raises(ValueError, match="there are no questions"):
        summarise_judged(Judged(BOTH, [], {}, {}), "a.jsonl", "m")


def test_intervals_resample_images():
    items = [item(i) for i in range(8)]
    ratings = {i.id: [(8.0, float(1 + int(i.id)))] for i in items}
    report = summarise_judged(Judged(PUBLISHED, items, ratings, {}), "a", "m", resamples=100)
    scores, images = [100 * (1 + i) / 8 for i in range(8)], [i.image_id for i in items]
    expected = cluster_bootstrap(scores, images, np.random.default_rng(0), 100)
    assert report.groups["overall"].interval == expected


def test_two_chatbots_are_compared_on_what_both_have():
    items = [item(i) for i in range(6)]
    first = Judged(PUBLISHED, items, {i.id: [(8, 4)] for i in items[:5]}, {"5": "invalid: x"})
    second = Judged(PUBLISHED, items, {i.id: [(8, 4 + int(i.id))] for i in items[1:]}, {"0": "invalid: x"})
    difference = judged_difference(first, second, resamples=200)
    assert (difference.n, difference.mean) == (4, pytest.approx(100 * np.mean([1, 2, 3, 4]) / 8))
    assert difference.low < difference.mean < difference.high
    assert judged_difference(first, Judged(PUBLISHED, items, {}, {})) is None


def test_every_rating_is_written(tmp_path, ask):
    items = [item(0), item(1, "unspeakable")]
    judged, _ = ask(items, Judge({"the reference": 8, "good": 4}))
    write_judged(tmp_path / "out.jsonl", {"a.jsonl": judged})
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (first["path"], first["id"], first["ratings"], first["failure"]) == ("a.jsonl", "0", [[9, 4], [8, 5]], "")
    assert second["ratings"] == []
    assert second["failure"].startswith("invalid")


def test_calls_are_known_beforehand():
    assert len(expected_calls([item(0), item(1)], BOTH)) == 4
    assert len(expected_calls([item(0), item(1)], PUBLISHED)) == 2
