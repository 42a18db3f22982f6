"""The LightningDataModule of a stage: conversations to train on, single questions to validate with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning as L
from torch.utils.data import DataLoader

from medgraph.data.collate import Tokens, collate_conversations, collate_questions
from medgraph.data.errors import DataError
from medgraph.data.loading import ConversationDataset, EpochSampler, ImageCache, QuestionDataset
from medgraph.data.records import Corpus, Image, Record, take_questions


class VQADataModule(L.LightningDataModule):
    """Conversations of one split for training, questions of ``val`` for validation.

    Its checkpoint state is the corpus' fingerprint, so that other data is refused, and the number of batches
    of the epoch that were trained on. (A batch that an interrupt hits half way counts as not seen; a count kept by the
    loader would lose it.)

    Args:
        corpus: splits and images.
        split: the split to train on: ``train`` or ``task``.
        tokens: tokenizer and sizes of the model.
        images: cache of decoded images, shared by all stages of a run.
        batch_size: images a batch and device.
        seed: seed of the order.
        views: text views that the alignment head wants.
        extended_lm: also encode conversations with extended answers.
        num_workers: loader processes.
        eval_batch_size: questions a validation batch.
        val_limit: validation questions to use.
        changes: names of augmentations of the training images.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        tokens: Tokens,
        images: ImageCache,
        batch_size: int,
        seed: int,
        views: tuple[str, ...] = (),
        extended_lm: bool = False,
        num_workers: int = 0,
        eval_batch_size: int = 64,
        val_limit: int = 500,
        changes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.corpus, self.split, self.tokens, self.images = corpus, split, tokens, images
        self.batch_size, self.seed, self.num_workers, self.eval_batch_size = (
            batch_size,
            seed,
            num_workers,
            eval_batch_size,
        )
        self.views, self.extended_lm = views, extended_lm
        self.validation = take_questions(corpus.splits["val"], val_limit)
        self.dataset = ConversationDataset(
            corpus.splits[split], images, seed, changes, corpus.ordered, corpus.turns
        )
        self._fingerprint, self._trained_batches = corpus.fingerprint(), 0

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled conversations, from where the checkpoint left off."""
        return DataLoader(
            self.dataset,
            batch_size=self.batch_size,
            sampler=EpochSampler(len(self.dataset), self.batch_size, self.seed, self._trained_batches),
            collate_fn=partial(
                collate_conversations, tokens=self.tokens, views=self.views, extended_lm=self.extended_lm
            ),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Questions of the validation split."""
        return question_loader(self.validation, self.images, self.tokens, self.eval_batch_size)

    def state_dict(self) -> dict[str, Any]:
        """What the data is, and how far into the epoch training has come."""
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return {"data": self._fingerprint, "batches": progress.processed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue behind the batches that were trained on; refuse other data.

        Raises:
            DataError: if the corpus is not the one the checkpoint was trained on.
        """
        if state_dict["data"] != (found := self._fingerprint):
            raise DataError(
                f"the checkpoint was trained on data {state_dict['data']}, the corpus now is {found}: restore the data "
                "or start another run with run.name=…"
            )
        self._trained_batches = state_dict["batches"]


def question_loader(
    records: list[Record], images: Callable[[str], Image] | None, tokens: Tokens, batch_size: int
) -> DataLoader[Any]:
    """Batches of single questions in order; None for images asks without them."""
    return DataLoader(
        QuestionDataset(records, images), batch_size=batch_size, collate_fn=partial(collate_questions, tokens=tokens)
    )
