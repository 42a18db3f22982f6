"""A chat model on this machine: any Hugging Face causal language model, by name or local path."""

from __future__ import annotations

import threading
from typing import Any

from medgraph.config import ConfigError
from medgraph.llm.chat import Messages, Reply


class LocalChat:
    """Answers greedily, one question at a time; for many, serve the model with vLLM and use `Endpoint`.

    Args:
        model: name or folder of a causal language model with its tokenizer.
        max_tokens: longest answer.
        device: where to compute; None: the accelerator if there is one.

    Raises:
        ConfigError: if the model cannot be loaded.
    """

    def __init__(self, model: str, max_tokens: int = 1024, device: str | None = None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.settings: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
        self._lock = threading.Lock()
        self._device = device or (torch.accelerator.current_accelerator() or torch.device("cpu")).type
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
            self._model: Any = AutoModelForCausalLM.from_pretrained(model).to(self._device).eval()
        except (OSError, ValueError) as error:
            told = str(error).strip().splitlines()[0]
            raise ConfigError(f"{model}: neither a folder nor a name of a causal language model: {told}") from error

    def __call__(self, messages: Messages) -> Reply:
        """Answer; calls from several threads wait for each other."""
        import torch
        from transformers import GenerationConfig

        with self._lock, torch.inference_mode():
            ids = torch.tensor([self._encode(messages)], device=self._device)
            end = self._tokenizer.eos_token_id
            config = GenerationConfig(
                max_new_tokens=self.settings["max_tokens"], do_sample=False, eos_token_id=end, pad_token_id=end
            )
            new = self._model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[
                0, ids.shape[1] :
            ]
        stop = "stop" if len(new) and new[-1] == end else "length"
        return Reply(self._tokenizer.decode(new, skip_special_tokens=True).strip(), stop, "", ids.shape[1], len(new))

    def _encode(self, messages: Messages) -> list[int]:
        """Token ids of the conversation: by the model's chat template, or as plain text where it has none."""
        if self._tokenizer.chat_template:
            turns = [dict(turn) for turn in messages]
            encoded = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
            return list(encoded["input_ids"])
        text = "".join(f"{turn['role'].upper()}: {turn['content']}\n" for turn in messages)
        return list(self._tokenizer(f"{text}ASSISTANT:")["input_ids"])
