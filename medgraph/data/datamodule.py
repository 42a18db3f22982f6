"""LightningDataModules: conversations to train on, single questions to validate and test with.

`CorpusDataModule` takes any corpus and is what a run uses; the others read one and need no configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import lightning as L
import torch
from torch.utils.data import DataLoader, Sampler

from medgraph.config import FilesConfig, data_config
from medgraph.config.validation import check_root
from medgraph.data import build_corpus
from medgraph.data.collate import Tokens, collate_conversations, collate_questions
from medgraph.data.errors import DataError
from medgraph.data.loading import (
    ConversationDataset,
    EpochSampler,
    ImageCache,
    QuestionDataset,
    ShareSampler,
    leave_signals,
)
from medgraph.data.records import Corpus, Image, Record, take_questions


class ResumedDataModule(L.LightningDataModule):
    """Data that continues behind the batches a checkpoint was trained on.

    Args:
        fingerprint: of the data; kept in checkpoints.
        batch_size: samples a batch and device.
        seed: seed of the order.
        num_workers: loader processes.
        same_data: refuse a checkpoint that was trained on other data.
    """

    def __init__(
        self, fingerprint: str, batch_size: int, seed: int, num_workers: int = 0, same_data: bool = True
    ) -> None:
        super().__init__()
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.same_data, self._fingerprint, self._trained_batches = same_data, fingerprint, 0

    def training_loader(
        self, dataset: Any, collate: Callable[[Any], Any], sampler: Sampler[Any] | None = None
    ) -> DataLoader[Any]:
        """Load training batches from where the checkpoint left off.

        Args:
            dataset: takes the keys of the sampler.
            collate: makes a batch of samples.
            sampler: starts behind ``_trained_batches``; default `EpochSampler`.
        """
        if sampler is None:
            sampler = EpochSampler(len(dataset), self.batch_size, self.seed, self._trained_batches)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=collate,
            num_workers=self.num_workers,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),  # or every epoch would take a number from the global one
            persistent_workers=self.num_workers > 0,
        )

    def state_dict(self) -> dict[str, Any]:
        """What the data is, and how far training has come."""
        return {"data": self._fingerprint, "batches": trained_batches(self.trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue behind the batches that were trained on; refuse other data.

        Raises:
            DataError: if the corpus is not the one the checkpoint was trained on.
        """
        if self.same_data and state_dict["data"] != (found := self._fingerprint):
            raise DataError(
                f"the checkpoint was trained on data {state_dict['data']}, the corpus now is {found}: restore the data "
                "or start another run with run.name=…"
            )
        self._trained_batches = state_dict["batches"]


class CorpusDataModule(ResumedDataModule):
    """Conversations of one split for training, questions of ``val`` for validation, of ``test`` and ``ood`` for tests.

    Its checkpoint state is the corpus' fingerprint, so that other data is refused, and the number of batches that were
    trained on. (A batch that an interrupt hits half way counts as not seen; a count kept by the
    loader would lose it.)

    Args:
        corpus: splits and images.
        split: the split to train on: ``train`` or ``task``.
        tokens: tokenizer and sizes of the model.
        images: cache of decoded images, shared by all stages of a run.
        batch_size: conversations a batch and device.
        seed: seed of the order.
        views: text views that the alignment head wants.
        extended_lm: also encode conversations with extended answers.
        num_workers: loader processes.
        eval_batch_size: questions a validation batch.
        val_limit: validation questions to use.
        changes: names of augmentations of the training images.
        same_data: refuse a checkpoint that was trained on other data.
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
        same_data: bool = True,
    ) -> None:
        super().__init__(corpus.fingerprint(), batch_size, seed, num_workers, same_data)
        self.corpus, self.split, self.tokens, self.images = corpus, split, tokens, images
        self.eval_batch_size = eval_batch_size
        self.views, self.extended_lm = views, extended_lm
        self.validation = take_questions(corpus.splits["val"], val_limit)
        self.dataset = ConversationDataset(corpus.splits[split], images, seed, changes, corpus.ordered, corpus.turns)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled conversations, from where the checkpoint left off."""
        collate = partial(collate_conversations, tokens=self.tokens, views=self.views, extended_lm=self.extended_lm)
        return self.training_loader(self.dataset, collate)

    def val_dataloader(self) -> DataLoader[Any]:
        """Questions of the validation split; of several ranks, some may repeat one, so that all have equally many."""
        return question_loader(self.validation, self.images, self.tokens, self.eval_batch_size, "evenly")

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """All questions of ``test`` and of ``ood``, each where there are any."""
        return [
            question_loader(list(records), self.images, self.tokens, self.eval_batch_size, "exactly")
            for name in ("test", "ood")
            if (records := self.corpus.splits.get(name))
        ]


class _FilesDataModule(CorpusDataModule):
    """One kind of source, named by the subclass, from its folder or file."""

    source: ClassVar[str]

    def __init__(
        self,
        root: str,
        tokens: Tokens,
        batch_size: int,
        image_size: int,
        split: str = "train",
        loader: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        arguments = _arguments(self.source, tokens, batch_size, image_size, split, loader, root=root, **options)
        super().__init__(**arguments)


class MedMATDataModule(_FilesDataModule):
    """Med-MAT from its folder.

    Args:
        root: folder that holds ``Aggregated_Subsets/`` and ``med-mat/``.
        tokens: tokenizer and sizes of the model.
        batch_size: conversations a batch and device.
        image_size: side of the model's images in pixels.
        split: what to train on: ``train`` or ``task``.
        loader: further arguments of `CorpusDataModule`: ``seed``, ``views``, ``num_workers`` …
        options: fields of `medgraph.config.MedMATConfig`.

    Raises:
        ConfigError: for an unknown option.
        DataError: for data that is missing or malformed.
    """

    source = "medmat"


class InstructionDataModule(_FilesDataModule):
    """Conversations in the form of LLaVA-Med and ExGra-Med.

    Args:
        root: the JSON file.
        tokens: tokenizer and sizes of the model.
        batch_size: conversations a batch and device.
        image_size: side of the model's images in pixels.
        split: what to train on: ``train`` or ``task``.
        loader: further arguments of `CorpusDataModule`.
        options: fields of `medgraph.config.ConversationsConfig`.

    Raises:
        ConfigError: for an unknown option.
        DataError: for data that is missing or malformed.
    """

    source = "conversations"


class VQADataModule(CorpusDataModule):
    """A question-answering set, or any other source, from its folder or file.

    Args:
        source: a key of `medgraph.config.DATA`: ``vqa_rad``, ``slake``, ``path_vqa``, ``hf`` …
        root: folder or file of the data.
        tokens: tokenizer and sizes of the model.
        batch_size: conversations a batch and device.
        image_size: side of the model's images in pixels.
        split: what to train on: ``task`` (all training images) or ``train`` (``fraction`` of them).
        loader: further arguments of `CorpusDataModule`.
        options: fields of the source's configuration.

    Raises:
        ConfigError: for an unknown source or option.
        DataError: for data that is missing or malformed.
    """

    def __init__(
        self,
        source: str,
        root: str,
        tokens: Tokens,
        batch_size: int,
        image_size: int,
        split: str = "task",
        loader: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**_arguments(source, tokens, batch_size, image_size, split, loader, root=root, **options))


class PhantomDataModule(CorpusDataModule):
    """Generated images; nothing to download.

    Args:
        tokens: tokenizer and sizes of the model.
        batch_size: conversations a batch and device.
        image_size: side of the model's images in pixels.
        split: what to train on: ``train`` or ``task``.
        loader: further arguments of `CorpusDataModule`.
        options: fields of `medgraph.config.PhantomConfig`.

    Raises:
        ConfigError: for an unknown option.
    """

    def __init__(
        self,
        tokens: Tokens,
        batch_size: int,
        image_size: int,
        split: str = "train",
        loader: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**_arguments("phantom", tokens, batch_size, image_size, split, loader, **options))


def _arguments(
    source: str,
    tokens: Tokens,
    batch_size: int,
    image_size: int,
    split: str,
    loader: Mapping[str, Any] | None,
    **options: Any,
) -> dict[str, Any]:
    """Arguments of `CorpusDataModule` for a source; one that reads files is checked for a root."""
    config = data_config(source, **options)
    if isinstance(config, FilesConfig):
        check_root(config, "root")
    corpus = build_corpus(config)
    return {"corpus": corpus, "split": split, "tokens": tokens, "images": ImageCache(corpus, image_size),
            "batch_size": batch_size, "seed": 0, **(loader or {})}  # fmt: skip


def trained_batches(trainer: L.Trainer | None) -> int:
    """Batches that a Trainer has trained on, in all epochs together."""
    assert trainer is not None
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    return int(progress.processed)


def question_loader(
    records: list[Record],
    images: Callable[[str], Image] | None,
    tokens: Tokens,
    batch_size: int,
    share: Literal["all", "exactly", "evenly"] = "all",
) -> DataLoader[Any]:
    """Batches of single questions in order; None for images asks without them.

    Args:
        records: the questions.
        images: loads an image.
        tokens: tokenizer and sizes of the model.
        batch_size: questions a batch.
        share: each rank asks ``all`` questions, or its share: ``exactly`` has each question once over all ranks,
            ``evenly`` has equally many a rank, for which one may come twice.
    """
    dataset = QuestionDataset(records, images)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=None if share == "all" else ShareSampler(len(dataset), even=share == "evenly"),
        collate_fn=partial(collate_questions, tokens=tokens),
        generator=torch.Generator(),  # or every pass would take a number from the global one
    )
