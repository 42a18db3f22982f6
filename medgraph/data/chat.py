"""What stands around questions and answers: MedGraph's own format, or what a tokenizer's chat template writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """Text around the turns of a conversation.

    Attributes:
        start: before the first turn.
        behind_image: between an image and the question about it.
        answer: behind a question, up to where the model begins.
        space: what the model writes before its answer.
        end: what it writes behind it, one special token.
        next: from there to the next question.
    """

    start: str
    behind_image: str
    answer: str
    space: str
    end: str
    next: str


@lru_cache(maxsize=8)
def chat_format(tokenizer: Any) -> ChatFormat:
    """The format of a tokenizer's chat template; without one, that of LLaVA with an end-of-text token.

    Raises:
        ValueError: if the template does not write turns one after another.
    """
    if not tokenizer.chat_template:
        return ChatFormat("USER: ", "\n", " ASSISTANT:", " ", tokenizer.eos_token, "USER: ")

    def user(images: int) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "image"}] * images + [{"type": "text", "text": "QUESTION"}]}

    def render(*turns: dict[str, Any], **options: Any) -> list[str]:
        return re.split("QUESTION|ANSWER", tokenizer.apply_chat_template(list(turns), tokenize=False, **options))

    assistant = {"role": "assistant", "content": [{"type": "text", "text": "ANSWER"}]}
    start, answer = render(user(1), add_generation_prompt=True)
    mark = render(user(2), add_generation_prompt=True)[0][len(start) :]
    before, until, between, *_ = render(user(1), assistant, user(0), assistant)
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    end = max((token for token in special if between.startswith(token)), key=len, default="")
    if not (mark and start.endswith(mark) and before == start and until.startswith(answer) and end):
        raise ValueError("its chat template does not write one turn behind the other, each answer with a special token "
                         "at its end; take the template out of the tokenizer to use MedGraph's own format")  # fmt: skip
    start = start.removesuffix(mark)
    if tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]:  # the tokenizer writes it as well
        start = start.removeprefix(tokenizer.bos_token)
    return ChatFormat(start, mark[len(mark.rstrip()) :], answer, until[len(answer) :], end, between[len(end) :])
