"""MedVLM: a vision tower, a projector and a language model joined at the image tokens.

It knows no loss but language modelling; alignment heads take what ``image_nodes`` and ``text_nodes`` return.

Letters: B batch, T tokens, N image tokens, D width of the language model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from medgraph.alignment.head import NodeSet
from medgraph.data.collate import QuestionBatch, TokenBatch, pad
from medgraph.data.conversation import IMAGE_MARK
from medgraph.models.loss import LogitRule, LossKernel, head_loss
from medgraph.models.packing import can_pack, packed_hidden_states
from medgraph.models.projector import Resampler
from medgraph.models.text_nodes import TextNodes
from medgraph.models.vision import VisionTower

PARTS = ("vision", "projector", "llm")


class MedVLM(nn.Module):
    """Vision encoder, projector and causal language model.

    Args:
        vision: tower that returns (B, N_v, D_v) features.
        projector: maps (B, N_v, D_v) to (B, N, D).
        llm: a Hugging Face causal language model.
        tokenizer: its fast tokenizer, with an ``<image>`` token (which needs no row in the embedding table).

    Attributes:
        loss_kernel: what computes `lm_loss`.
        text_source: where text nodes come from (`medgraph.models.text_nodes`).
        text_layers: layers that ``truncated`` texts pass; None: a quarter.
    """

    loss_kernel: LossKernel = "chunked"
    text_source: TextNodes = "packed"
    text_layers: int | None = None

    def __init__(self, vision: VisionTower, projector: nn.Module, llm: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.vision, self.projector, self.llm = vision, projector, llm
        self.tokenizer = tokenizer
        self.image_token_id: int = tokenizer.convert_tokens_to_ids(IMAGE_MARK)

    @property
    def width(self) -> int:
        """D, the width of the language model and of all graph nodes."""
        return int(self._embedding.weight.shape[1])

    @property
    def num_image_tokens(self) -> int:
        """N, the tokens that an image takes in a prompt."""
        return self.projector.num_tokens if isinstance(self.projector, Resampler) else self.vision.num_tokens

    @property
    def words(self) -> Tensor:
        """(V, D) input embeddings of the vocabulary."""
        return self._embedding.weight.detach()

    @property
    def _embedding(self) -> nn.Embedding:
        return self.llm.get_input_embeddings()  # type: ignore[operator]

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) uint8 images to (B, N, D) tokens in the language model's input space."""
        features = self.vision(images)
        return self.projector(features.to(next(self.projector.parameters()).dtype))

    def _embed(self, ids: Tensor, image_tokens: Tensor | None) -> Tensor:
        """Token embeddings (B, T, D) with the image tokens spliced in."""
        placeholder = ids == self.image_token_id
        embeds = self._embedding(ids.masked_fill(placeholder, 0))
        if image_tokens is None:
            return embeds
        return embeds.masked_scatter(placeholder.unsqueeze(-1), image_tokens.to(embeds.dtype))

    def hidden_states(self, passes: Mapping[str, tuple[TokenBatch, Tensor | None]]) -> dict[str, Tensor]:
        """Final hidden states of the language model for several kinds of sequences.

        All of them take one packed pass without padding where the model allows it, else a padded pass each; the
        results are equal.

        Args:
            passes: by name, right-padded tokens and the (B, N, D) image tokens to splice in, or None for text alone.

        Returns:
            (B, T, D) for each name; what stands at padding has no meaning.
        """
        embeds = [self._embed(batch.ids, image_tokens) for batch, image_tokens in passes.values()]
        layouts = [batch.layout for batch, _ in passes.values()]
        decoder: Any = self.llm.get_decoder()  # type: ignore[operator]
        if can_pack(self.llm, layouts):
            hidden = packed_hidden_states(decoder, embeds, layouts)
        else:
            hidden = [
                decoder(inputs_embeds=x, attention_mask=batch.mask.long(), use_cache=False).last_hidden_state
                for x, (batch, _) in zip(embeds, passes.values(), strict=True)
            ]
        return dict(zip(passes, hidden, strict=True))

    def lm_loss(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """Mean next-token cross entropy over the supervised tokens of the batch.

        The language model's head is applied to supervised positions only, and to some of them at a time: the same loss
        and gradients as with all logits, at a fraction of the memory.

        Args:
            hidden: (B, T, D) from ``hidden_states``.
            batch: the conversations, with labels.
        """
        assert batch.labels is not None
        assert batch.supervised is not None
        head: nn.Module = self.llm.get_output_embeddings()  # type: ignore[operator]
        before = hidden.flatten(0, 1).index_select(0, batch.supervised - 1)
        labels = batch.labels.flatten().index_select(0, batch.supervised)
        return head_loss(head, before, labels, LogitRule.of(self.llm.config), self.loss_kernel)

    def image_nodes(self, image_tokens: Tensor, ids: Tensor) -> NodeSet:
        """Graph nodes of images: the mean over the N projected tokens (ExGra-Med, arXiv:2410.02615)."""
        return NodeSet(image_tokens.float().mean(1), image_tokens, None, ids)

    def text_nodes(self, hidden: Tensor, mask: Tensor, ids: Tensor) -> NodeSet:
        """Graph nodes of texts: final hidden states averaged over their tokens.

        The release averages over padding as well; that makes a node depend on its batch companions.

        Args:
            hidden: (B, T, D) from ``hidden_states``.
            mask: (B, T) bool, True at the tokens of the text.
            ids: (B,) content ids.
        """
        weight = mask.unsqueeze(-1).float()
        return NodeSet((hidden.float() * weight).sum(1) / weight.sum(1), hidden, mask, ids)

    @torch.no_grad()
    def generate(self, batch: QuestionBatch, max_new_tokens: int) -> list[str]:
        """Answer questions greedily; the same text whatever the batch they are in.

        Args:
            batch: left-padded prompts, with or without images.
            max_new_tokens: longest answer.
        """
        image_tokens = None if batch.images is None else self.encode_images(batch.images)
        tokenizer = self.tokenizer
        output = self.llm.generate(  # type: ignore[operator]
            inputs_embeds=self._embed(batch.prompts.ids, image_tokens),
            attention_mask=batch.prompts.mask.long(),
            generation_config=GenerationConfig(  # a new one: a checkpoint's own may sample or penalise repetition
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
        )
        return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]

    @torch.no_grad()
    def reply_logprobs(self, batch: QuestionBatch, replies: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
        """Log-likelihoods of given replies to each question, from one pass over the prompts.

        The first token of every reply is read off that pass; the rest of the longer ones continues on its cache.

        Args:
            batch: left-padded prompts, with or without images.
            replies: for each question the token ids of its replies, none of them empty.

        Returns:
            For each question one sum of log-probabilities a reply.
        """
        image_tokens = None if batch.images is None else self.encode_images(batch.images)
        mask = batch.prompts.mask
        decoder: Any = self.llm.get_decoder()  # type: ignore[operator]
        prefix = decoder(
            inputs_embeds=self._embed(batch.prompts.ids, image_tokens),
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
        )
        first = self._log_probs(prefix.last_hidden_state[:, -1])
        scores: list[list[float]] = [[] for _ in replies]
        for k in range(max(map(len, replies))):
            rows = [row for row, mine in enumerate(replies) if k < len(mine)]
            chosen = [replies[row][k] if k < len(replies[row]) else [0] for row in range(len(replies))]
            ids, real = (tensor.to(mask.device) for tensor in pad(chosen, 0))
            sums = first.gather(1, ids[:, :1]).squeeze(1)
            if ids.shape[1] > 1:
                rest = decoder(
                    inputs_embeds=self._embed(ids[:, :-1], None),
                    attention_mask=torch.cat([mask, real[:, :-1]], 1).long(),
                    position_ids=mask.sum(1, keepdim=True) + torch.arange(ids.shape[1] - 1, device=mask.device),
                    past_key_values=prefix.past_key_values,
                    use_cache=True,
                )
                prefix.past_key_values.crop(1 - ids.shape[1])
                following = self._log_probs(rest.last_hidden_state).gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
                sums = sums + (following * real[:, 1:]).sum(1)
            for row in rows:
                scores[row].append(float(sums[row]))
        return scores

    def _log_probs(self, hidden: Tensor) -> Tensor:
        """(…, D) final hidden states to (…, V) log-probabilities of the next token."""
        return LogitRule.of(self.llm.config)(self.llm.get_output_embeddings()(hidden)).log_softmax(-1)  # type: ignore[operator]

    def trained_parameters(self, parts: Collection[str]) -> dict[str, nn.Parameter]:
        """Parameters that training the named parts changes: a part's adapters and prompts if it has some, else all."""
        trained: dict[str, nn.Parameter] = {}
        for name in PARTS:
            if name in parts:
                every = dict(getattr(self, name).named_parameters(prefix=name))
                added = {key: p for key, p in every.items() if ".lora_" in key or key.startswith("vision.prompts.")}
                trained |= added or every
        return trained

    def set_trainable(self, parts: Collection[str]) -> None:
        """Train the named parts out of ``PARTS`` and freeze the others."""
        self.requires_grad_(False)
        for name in PARTS:
            getattr(self, name).train(name in parts)
        for parameter in self.trained_parameters(parts).values():
            parameter.requires_grad_(True)
        if "vision" in parts:
            self.vision._freeze_unused()
