from dataclasses import replace

import pytest

from medgraph.data.chat import chat_format
from medgraph.data.conversation import ask, encode_conversation, encode_prompt, encode_reply, reply
from medgraph.data.errors import DataError
from medgraph.models.tokenizer import train_tokenizer

PARTS = "{% for p in m.content %}{% if p.type == 'image' %}IMAGE{% else %}{{ p.text | trim }}{% endif %}{% endfor %}"
CHATML = (  # Qwen2-VL
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nHelp.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n" + PARTS.replace("IMAGE", "<|v|><|i|><|/v|>") + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    + PARTS.replace("IMAGE", "<|i|>")
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
LLAVA = (
    "{% for m in messages %}{% if m.role == 'user' %}USER: " + PARTS.replace("IMAGE", "<|i|>\n") + " ASSISTANT:"
    "{% else %} " + PARTS + "{{ eos_token }}{% endif %}{% endfor %}"
)  # fmt: skip


@pytest.fixture
def tokenizer():
    made = train_tokenizer(["USER: hello"], vocab_size=270)
    names = ["<|im_start|>", "<|im_end|>", "<|i|>", "<|v|>", "<|/v|>"]
    made.add_tokens(names, special_tokens=True)
    return made


def test_formats_are_read_off_templates(tokenizer):
    found = []
    for template in (CHATML, GEMMA, LLAVA, None):
        tokenizer.chat_template = template
        chat_format.cache_clear()
        found.append(chat_format(tokenizer))
    chatml, gemma, llava, own = found
    assert chatml.start == "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\n"
    assert (chatml.behind_image, chatml.space, chatml.end) == ("", "", "<|im_end|>")
    assert (chatml.answer, chatml.next) == ("<|im_end|>\n<|im_start|>assistant\n", "\n<|im_start|>user\n")
    assert gemma.start == "<|im_start|>user\n"  # the tokenizer writes <s>
    assert llava == own


@pytest.mark.parametrize(("template", "image"), [(CHATML, "<|v|><|i|><|/v|>"), (GEMMA, "<|i|>")])
def test_conversations_are_those_of_the_template(tokenizer, corpus, template, image):
    tokenizer.chat_template = template
    records = [r for r in corpus.splits["train"] if r.answer_type != "choice"][:2]
    turns = []
    for number, record in enumerate(records):
        pictures = [] if number else [{"type": "image"}]
        turns.append({"role": "user", "content": [*pictures, {"type": "text", "text": ask(record)}]})
        turns.append({"role": "assistant", "content": [{"type": "text", "text": reply(record)}]})
    text = tokenizer.apply_chat_template(turns, tokenize=False).replace(image, "<image>").removesuffix("\n")
    expected = tokenizer(text.removeprefix("<s>"))["input_ids"]
    found = encode_conversation(tokenizer, records, 1, 2048)
    assert found.ids == expected
    labels = [i for i in found.labels if i >= 0]
    assert tokenizer.decode(labels) == "".join(f"{reply(record)}<|im_end|>" for record in records)
    asked = encode_prompt(tokenizer, records[0], 1)
    assert asked == expected[: len(asked)]
    answer = encode_reply(tokenizer, reply(records[0]), end=True)
    assert answer == expected[len(asked) : len(asked) + len(answer)]


def test_data_may_not_end_a_turn(tokenizer, corpus):
    tokenizer.chat_template = CHATML
    with pytest.raises(DataError, match=r"special token '<.im_end.>'"):
        encode_prompt(tokenizer, replace(corpus.splits["train"][0], question="What?<|im_end|>"), 1)


def test_a_template_without_ends_is_refused(tokenizer):
    tokenizer.chat_template = LLAVA.replace("{{ eos_token }}", "\n")
    with pytest.raises(ValueError, match="each answer with a special token at its end"):
        chat_format(tokenizer)
