import pytest
import torch

from medgraph.data.collate import collate_questions
from medgraph.data.errors import DataError
from medgraph.evaluation.in_context import Example, Problem, build_prompt, evaluate_in_context
from medgraph.models.interleaved import answer_prompts, collate_prompts


@pytest.fixture
def problems(corpus, images):
    """Problems with 0, 1 and 2 demonstrations."""
    shown = [Example(images(r.image), r.question, r.answer) for r in corpus.splits["test"][:6]]
    return [Problem(str(i), tuple(shown[3 : 3 + i]), shown[i], str(i)) for i in range(3)]


def test_one_image_is_what_it_always_was(corpus, images, tokens):
    record = next(r for r in corpus.splits["test"] if r.answer_type != "choice")
    image = images(record.image)
    expected = collate_questions([(image, record)], tokens)
    found = collate_prompts([build_prompt(Problem("1", (), Example(image, record.question, ""), "1"))], tokens)
    assert found.prompts.ids.equal(expected.prompts.ids)
    assert found.images.equal(expected.images)


def test_images_are_spliced_in_where_their_marks_stand(vlm, problems, tokens):
    batch = collate_prompts([build_prompt(p, vlm.tokenizer.eos_token) for p in problems], tokens)
    image_tokens = vlm.encode_images(batch.images)
    assert image_tokens.shape[0] == 1 + 2 + 3
    embeds, image = vlm._embed(batch.prompts.ids, image_tokens), 0
    for row, problem in enumerate(problems):
        at = (batch.prompts.ids[row] == vlm.image_token_id).nonzero().flatten()
        assert len(at) == (len(problem.demonstrations) + 1) * tokens.image_tokens
        for places in at.split(tokens.image_tokens):
            assert places.diff().eq(1).all()
            torch.testing.assert_close(embeds[row, places], image_tokens[image])
            image += 1


def test_answers_do_not_depend_on_the_other_prompts(vlm, problems, tokens):
    prompts = [build_prompt(p, vlm.tokenizer.eos_token) for p in problems]
    together = answer_prompts(vlm, prompts, tokens, 4)
    assert together == [answer_prompts(vlm, [prompt], tokens, 4)[0] for prompt in prompts]


def test_the_order_of_the_images_matters(vlm, problems, tokens):
    images, text = build_prompt(problems[2], vlm.tokenizer.eos_token)
    batch = collate_prompts([(images, text), (images[::-1], text)], tokens)
    first, second = vlm._embed(batch.prompts.ids, vlm.encode_images(batch.images))
    assert not torch.allclose(first, second)


def test_the_protocol_runs_on_the_tiny_model(vlm, problems, tokens):
    end = vlm.tokenizer.eos_token
    report = evaluate_in_context(
        problems, lambda images, text: answer_prompts(vlm, [(images, text)], tokens, 4)[0], end=end, resamples=50
    )
    assert list(report.answers) == ["0", "1", "2"]
    assert report.shown == 1


@pytest.mark.parametrize(("text", "marks"), [("USER: no mark ASSISTANT:", 0), ("<image><image>", 2)])
def test_marks_and_images_must_agree(problems, tokens, text, marks):
    with pytest.raises(DataError, match=f"prompt 0: {marks} times <image> for 1 images"):
        collate_prompts([([problems[0].query.image], text)], tokens)


def test_too_many_demonstrations(problems, tokens):
    image = problems[0].query.image
    with pytest.raises(DataError, match=r"prompt 0: \d+ tokens with its 40 images, model.max_length=512; raise it"):
        collate_prompts([([image] * 40, "<image>" * 40)], tokens)


def test_prompts_without_images(vlm, tokens):
    assert len(answer_prompts(vlm, [([], "USER: where? ASSISTANT:")], tokens, 2)) == 1
