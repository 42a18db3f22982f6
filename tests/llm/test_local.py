import pytest
import torch

from medgraph.config import ConfigError
from medgraph.llm.local import LocalChat

SAID = '{"answers": ["left"]}'
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny saved language model that has learnt one reply by heart."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from medgraph.models.tokenizer import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer([SAID])
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                         num_attention_heads=2)  # fmt: skip
    model = LlamaForCausalLM(config)
    prompt = tokenizer("SYSTEM: Be brief.\nUSER: Where?\nASSISTANT:")["input_ids"]
    reply = tokenizer(f" {SAID}{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*prompt, *reply]])
    labels = torch.tensor([[-100] * len(prompt) + reply])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(60):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_saved_model_answers_and_counts_its_tokens(folder):
    model = LocalChat(folder)
    reply = model(ASKED)
    assert (reply.text, reply.stop, reply.refusal) == (SAID, "stop", "")
    assert (reply.prompt_tokens, reply.completion_tokens) == (40, 8)
    assert model(ASKED) == reply


def test_an_answer_cut_off_says_so(folder):
    assert LocalChat(folder, max_tokens=2)(ASKED).stop == "length"


def test_the_chat_template_decides_where_there_is_one(folder):
    model = LocalChat(folder)
    model._tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}|{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    assert model._tokenizer.decode(model._encode(ASKED), skip_special_tokens=True) == "system|user|>"


def test_what_is_no_model(tmp_path):
    with pytest.raises(ConfigError, match="neither a folder nor a name of a causal language model"):
        LocalChat(str(tmp_path))
