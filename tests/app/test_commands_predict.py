import json

import numpy as np
import PIL.Image
import pytest
from safetensors.torch import save_file

from medgraph.config import ConfigError, ExperimentConfig, PhantomConfig, StageConfig, VQARADConfig, model_config
from medgraph.config import to_yaml as config_text
from medgraph.data.collate import collate_questions
from medgraph.models.medvlm import MedVLM
from medgraph.training.trained import load_trained
from medgraph.training.weights import trained_state


def make_run(folder, vlm, data=None):
    """The folder of a finished run of the given model."""
    none = StageConfig(steps=0)
    data = data or PhantomConfig(num_train=24, num_task=8, num_val=4, num_test=8, num_ood=4)
    model = model_config("tiny", weights="random")
    (folder / "stage2").mkdir(parents=True)
    stage = StageConfig(steps=1, train=["vision", "projector", "llm"])
    config = ExperimentConfig(data=data, model=model, stage1=none, stage2=stage, stage3=none)
    (folder / "config.yaml").write_text(config_text(config))
    vlm.tokenizer.save_pretrained(folder / "tokenizer")
    save_file(trained_state(vlm, stage.train), folder / "stage2" / "weights.safetensors")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, _vlm):
    return make_run(tmp_path_factory.mktemp("run") / "r", _vlm)


@pytest.fixture
def picture(tmp_path, corpus):
    PIL.Image.fromarray(corpus.load_image(corpus.splits["test"][0].image, 64)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_ask_answers_as_evaluation_does(medgraph, run, picture, corpus, vlm, images, tokens):
    record = next(record for record in corpus.splits["test"] if record.answer_type == "open")
    batch = collate_questions([(images(corpus.splits["test"][0].image), record)], tokens)
    code, out, _ = medgraph("ask", run, picture, record.question, "--max-new-tokens", 5)
    assert (code, out) == (0, f"{vlm.generate(batch, 5)[0]}\n")


def test_ask_with_options_gives_their_likelihoods(medgraph, run, picture):
    question = ("ask", run, picture, "Which organ?", "--options", "lung", "brain, left", "heart", "--max-new-tokens", 2)
    answer = json.loads(medgraph(*question, "--json")[1])
    assert len(answer["logprobs"]) == len(answer["text_logprobs"]) == 3
    assert max(answer["logprobs"]) < 0
    table = medgraph(*question)[1]
    assert all(f"{value:.2f}" in table for value in answer["logprobs"] + answer["text_logprobs"])
    assert "brain, left" in table


def test_ask_reads_volumes(medgraph, run, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((9, 8, 3)), np.eye(4)), tmp_path / "x.nii.gz")
    assert medgraph("ask", run, tmp_path / "x.nii.gz", "What is seen?", "--max-new-tokens", 1)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{run}", "nothing.png", "Where?"), "nothing.png: found 'no file', expected an image"),
        (("{run}/stage2", "{picture}", "Where?"), "stage2 is not the folder of a run: it has no config.yaml"),
        (("{run}", "{picture}", "Where", "is", "it?"), "put the question in quotes"),
        (("{run}", "{picture}", "Where?", "--options", "lung"), "1 option(s): a choice question needs 2 to 26"),
        (("{run}", "{picture}", "Where?", "--options", "a", "a"), "the same option twice: a, a"),
    ],
)
def test_mistakes_of_ask(medgraph, run, picture, arguments, message):
    code, out, err = medgraph("ask", *(text.format(run=run, picture=picture) for text in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_a_model_needs_its_tokenizer_but_not_its_data(tmp_path, vlm):
    run = make_run(tmp_path / "r", vlm, VQARADConfig(name="vqa_rad", root="/gone"))
    trained = load_trained(run)
    assert trained.tokens.tokenizer.get_vocab() == vlm.tokenizer.get_vocab()
    found, expected = trained.vlm.state_dict(), vlm.state_dict()
    assert all(expected[name].equal(value) for name, value in found.items())
    (run / "stage2" / "weights.safetensors").unlink()
    with pytest.raises(ConfigError, match="no stage has finished"):
        load_trained(run)


def test_predictions_are_those_of_any_batch_size_and_can_be_scored(medgraph, run, tmp_path):
    one, many = tmp_path / "one.jsonl", tmp_path / "many.jsonl"
    options = ("--limit", 3, "--max-new-tokens", 3, "--split", "test", "--split", "ood")
    for file, size in ((one, 1), (many, 3)):
        assert medgraph("predict", run, "--out", file, "--batch-size", size, *options)[:2] == (
            0, f"{file}: 6 answers; medgraph score {file}\n",
        )  # fmt: skip
    assert one.read_bytes() == many.read_bytes()
    assert medgraph("score", one, "--protocol", "strict")[0] == 0


def test_a_killed_prediction_continues_and_grows(medgraph, run, tmp_path):
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    options = ("--batch-size", 1, "--max-new-tokens", 2)
    medgraph("predict", run, "--out", whole, *options, "--limit", 2, "--controls")
    assert {json.loads(line)["control"] for line in whole.read_text().splitlines()} == {
        "none",
        "no_image",
        "shuffled_image",
    }
    medgraph("predict", run, "--out", killed, *options, "--limit", 2)
    content = killed.read_bytes()
    killed.write_bytes(content[: content.rfind(b"\n", 0, -1) + 9])  # what a kill leaves of the last line
    medgraph("predict", run, "--out", killed, *options, "--limit", 2)
    assert killed.read_bytes() == content
    medgraph("predict", run, "--out", killed, *options, "--limit", 2, "--controls")
    assert killed.read_bytes() == whole.read_bytes()


def test_ctrl_c_keeps_the_answers_and_says_how_to_go_on(medgraph, run, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    options = ("--batch-size", 1, "--max-new-tokens", 2, "--limit", 2)
    medgraph("predict", run, "--out", whole, *options)
    generate, calls = MedVLM.generate, iter(range(9))

    def interrupted(*arguments):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(MedVLM, "generate", interrupted)
    code, _, err = medgraph("predict", run, "--out", stopped, *options)
    assert code == 130
    assert err.startswith("medgraph: interrupted; continue with: ")
    assert whole.read_bytes().startswith(stopped.read_bytes())
    assert stopped.read_bytes().count(b"\n") == 1
    medgraph("predict", run, "--out", stopped, *options)
    assert stopped.read_bytes() == whole.read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory, run):
    file = tmp_path_factory.mktemp("written") / "a.jsonl"
    from medgraph.data import build_corpus
    from medgraph.training.answers import Asking, answer_corpus
    from medgraph.training.trained import saved_config

    trained, corpus = load_trained(run), build_corpus(saved_config(run).data)
    answer_corpus(trained.vlm, trained.tokens, corpus, file, Asking(["test"], 1, 1, 2, True, False))
    return file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.num_test=9",), "was written with another data"),
        (("--max-new-tokens", "3"), "was written with another max_new_tokens 3 (was 2)"),
        (("--max-new-tokens", "2", "--split", "gold"), "--split gold: the data has no such records; expected some of"),
        (("seed=3",), "seed=3: only the data can be changed"),
        (("data.num_tst=9",), "data.num_tst=9: unknown key"),
        (("data=vqa_rad",), "data.root is not set"),
    ],
)
def test_mistakes_of_predict(medgraph, run, written, arguments, message):
    before = written.read_bytes()
    code, out, err = medgraph("predict", run, "--out", written, "--max-new-tokens", 2, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert written.read_bytes() == before


def test_answers_of_another_model_or_program_are_refused(medgraph, run, written, tmp_path, vlm):
    vlm.projector[0].weight.data += 1e-4
    other = make_run(tmp_path / "other", vlm)
    assert "was written with another model" in medgraph("predict", other, "--out", written, "--max-new-tokens", 2)[2]
    (tmp_path / "mine.jsonl").write_text("{}\n")
    assert "this command did not write it" in medgraph("predict", run, "--out", tmp_path / "mine.jsonl")[2]
