import math

import numpy as np
import pytest

from medgraph.evaluation.in_context import (
    Example,
    Problem,
    add_irrelevant,
    build_prompt,
    choose_demonstrations,
    evaluate_in_context,
    exact_match,
    judge_messages,
    majority_baseline,
    random_baseline,
)


def problem(number: int, answers: str, truth: str = "a", relevance: tuple[float | None, ...] = ()) -> Problem:
    known = relevance or (None,) * len(answers)
    shown = [Example(f"{number}-{i}", "Which?", a, r) for i, (a, r) in enumerate(zip(answers, known, strict=True))]
    return Problem(str(number), tuple(shown), Example(f"{number}-q", "Which now?", truth), f"group {number}")


def order_of(problem: Problem) -> str:
    return "".join(example.answer for example in problem.demonstrations)


@pytest.mark.parametrize(
    ("k", "order", "expected"),
    [
        (None, "given", "abcd"), (2, "given", "ab"), (0, "given", ""), (9, "given", "abcd"),
        (None, "relevant_first", "cabd"), (None, "relevant_last", "abdc"), (2, "relevant_first", "ca"),
        (2, "relevant_last", "ac"), (1, "relevant_last", "c"), (0, "relevant_last", ""),
    ],
)  # fmt: skip
def test_number_and_order_of_demonstrations(k, order, expected):
    shown = choose_demonstrations(problem(1, "abcd", relevance=(0, 1, 3, 2)), k, order)
    assert order_of(shown) == expected


def test_orders_that_cannot_be():
    with pytest.raises(ValueError, match="problem 1: order=relevant_first needs the relevance"):
        choose_demonstrations(problem(1, "ab", relevance=(1, None)), order="relevant_first")
    with pytest.raises(ValueError, match="k=-1"):
        choose_demonstrations(problem(1, "ab"), -1)


def test_the_irrelevant_demonstration_comes_from_another_problem(rng):
    pool = [problem(1, "ab"), problem(2, "cd"), problem(3, "")]
    drawn = {order_of(add_irrelevant(pool[0], pool, rng)) for _ in range(50)}
    assert drawn == {"cab", "dab"}
    assert order_of(add_irrelevant(pool[0], pool, rng, last=True))[:2] == "ab"
    with pytest.raises(ValueError, match="no other problem"):
        add_irrelevant(pool[0], pool[:1], rng)


def test_a_prompt_shows_images_and_answers_in_order():
    images, text = build_prompt(problem(1, "ab"), end="|")
    assert images == ["1-0", "1-1", "1-q"]
    assert text == ("USER: <image>\nWhich? ASSISTANT: a|USER: <image>\nWhich? ASSISTANT: b|"
                    "USER: <image>\nWhich now? ASSISTANT:")  # fmt: skip
    with pytest.raises(ValueError, match="problem 2: a question or an answer contains <image>"):
        build_prompt(problem(2, ["<image>"]))


@pytest.mark.parametrize(("said", "right"), [("A!", True), (" a ", True), ("a b", False), ("", False)])
def test_exact_match_as_published(said, right):
    assert exact_match("a", said) is right


def test_baselines_know_the_demonstrations_only():
    assert [random_baseline(problem(1, answers)) for answers in ("ab", "aab", "A.bb", "")] == [0.5, 2 / 3, 1 / 4, 0]
    assert [majority_baseline(problem(1, answers)) for answers in ("ab", "ba", "baa", "")] == [1, 0, 1, 0]
    shown = problem(1, "abba").demonstrations
    draws = np.random.default_rng(0).integers(len(shown), size=4000)
    assert np.mean([exact_match("a", shown[i].answer) for i in draws]) == pytest.approx(0.5, abs=0.03)


def test_a_model_that_copies_the_last_demonstration():
    def copy_last(images, prompt):
        return prompt.split("ASSISTANT: ")[-1].split("|")[0] if len(images) > 1 else "none"

    problems = [problem(i, "ba" if i % 4 else "ab", relevance=(1, 0)) for i in range(40)]
    plain = evaluate_in_context(problems, copy_last, end="|", resamples=200)
    assert (plain.n, plain.shown, plain.exact_match.value) == (40, 2, 0.75)
    assert plain.exact_match.low < 0.75 < plain.exact_match.high
    assert (plain.random.value, plain.majority.value, plain.judged) == (0.5, 0.25, None)
    turned = evaluate_in_context(
        [choose_demonstrations(p, order="relevant_last") for p in problems], copy_last, end="|"
    )
    assert turned.exact_match.value == 0.25
    none = evaluate_in_context([choose_demonstrations(p, 0) for p in problems], copy_last, end="|")
    assert (none.shown, none.exact_match.value, none.exact_match.low) == (0, 0, 0)
    assert 0 < none.exact_match.high < 0.1


def test_a_judge_that_does_not_obey_counts_zero_and_is_counted():
    problems = [problem(i, "a") for i in range(4)]
    replies = iter(["1", "0", " 1\n", "yes"])
    report = evaluate_in_context(problems, lambda images, prompt: "b", lambda p, answer: next(replies), resamples=100)
    assert (report.exact_match.value, report.judged.value, report.judge_failures) == (0, 0.5, 1)
    asked = judge_messages(problems[0], "")[0]["content"]
    assert all(part in asked for part in ("Which now?", "Correct answer: a", "(no answer)"))


def test_permutations_of_one_problem_are_one_cluster():
    problems = [Problem(str(i), (), Example("x", "?", "a" if i % 2 else "b"), "same") for i in range(10)]
    report = evaluate_in_context(problems, lambda images, prompt: "a", resamples=100)
    assert math.isnan(report.exact_match.low)


def test_problems_need_ids_of_their_own():
    with pytest.raises(ValueError, match="unique ids, got 2 problems"):
        evaluate_in_context([problem(1, "a"), problem(1, "b")], lambda images, prompt: "a")
    with pytest.raises(ValueError, match="got 0"):
        evaluate_in_context([], lambda images, prompt: "a")
