"""Training on data larger than a machine: rows of a Hugging Face stream, each read by one worker of one rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from medgraph.config import Columns, ConfigError
from medgraph.data.collate import Tokens, collate_conversations
from medgraph.data.datamodule import question_loader, trained_batches
from medgraph.data.errors import DataError
from medgraph.data.images import ImageFolder, decode, fit
from medgraph.data.loading import ImageCache, rank_and_ranks
from medgraph.data.readers.manifest import content_name, image_content, parse_row
from medgraph.data.readers.tables import Row, dataset_rows
from medgraph.data.records import Corpus, Image, Record, take_questions

if TYPE_CHECKING:
    import datasets


class RowStream(IterableDataset[tuple[Image, list[Record]]]):
    """Questions of a `datasets.IterableDataset` as training samples, one row a sample, without end.

    Nothing is indexed or written to disk. Worker processes of all ranks share the files of the stream if it has enough
    of them, and otherwise take turns in its rows; either way each row is read once an epoch. The stream has no end,
    because the shares of the ranks may differ in length: the Trainer's ``max_steps`` ends training.

    Args:
        dataset: the stream; one question a row.
        side: side of the images in pixels.
        columns: names that the rows have for their columns.
        root: folder of images that rows name by path.
        seed: seed of the order.
        buffer: rows among which the order is shuffled.
        epochs: passes over the stream; None: without end.

    Raises:
        ConfigError: if the buffer holds no row.

    Example:
        >>> import datasets, numpy
        >>> text = datasets.Value("string")
        >>> kinds = datasets.Features({"image": datasets.Image(), "question": text, "answer": text})
        >>> row = {"image": numpy.zeros((8, 8, 3), "uint8"), "question": "Is it dark?", "answer": "yes"}
        >>> table = datasets.Dataset.from_list([row] * 4, features=kinds)
        >>> image, (record,) = next(iter(RowStream(table.to_iterable_dataset(num_shards=2), side=64)))
        >>> image.shape, record.question, record.answer_type
        ((64, 64, 3), 'Is it dark?', 'closed')
    """

    def __init__(
        self,
        dataset: datasets.IterableDataset,
        side: int,
        columns: Columns | None = None,
        root: str = ".",
        seed: int = 0,
        buffer: int = 1000,
        epochs: int | None = None,
    ) -> None:
        if buffer < 1:
            raise ConfigError(f"buffer={buffer}: expected at least 1 row")
        self.dataset, self.side, self.columns, self.root = dataset, side, columns or Columns(), Path(root)
        self.seed, self.buffer, self.epochs = seed, buffer, epochs
        self.skip_batches, self.batch_size = 0, 1

    def start_behind(self, batches: int, batch_size: int) -> None:
        """Leave out batches that a checkpoint has seen: they are read over, not decoded."""
        self.skip_batches, self.batch_size = batches, batch_size

    def __iter__(self) -> Iterator[tuple[Image, list[Record]]]:
        rank, ranks = rank_and_ranks()
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        worker = (worker + self.skip_batches) % workers  # batch i comes from worker i modulo their number
        epochs = count() if self.epochs is None else range(self.epochs)
        rows = chain.from_iterable(self._share(epoch, rank * workers + worker, ranks * workers) for epoch in epochs)
        seen = len(range(worker, self.skip_batches, workers))
        return map(self._sample, islice(rows, seen * self.batch_size, None))

    def _share(self, epoch: int, share: int, shares: int) -> Iterator[tuple[int, Row]]:
        """Rows of one epoch that are this worker's, with numbers that differ between workers."""
        apart = self.dataset.num_shards >= shares
        stream = self.dataset.shard(shares, share, contiguous=False) if apart else self.dataset
        rows = enumerate(dataset_rows(stream.shuffle(seed=self.seed + epoch, buffer_size=self.buffer)))
        if apart:
            return ((number * shares + share, row) for number, row in rows)
        return islice(rows, share, None, shares)

    def _sample(self, numbered: tuple[int, Row]) -> tuple[Image, list[Record]]:
        number, row = numbered
        content = image_content(row.get(self.columns.image), self.root, f"row {number}")
        name = content if isinstance(content, str) else content_name(content)
        _, record = parse_row(numbered, self.columns, self.root, lambda _value, _where: name)
        if not isinstance(record, Record):
            raise DataError.at("missing_column", self.root, record=f"row {number}", field=self.columns.question,
                               found=sorted(row), expected="question and answer",
                               fix="build a corpus of labelled images instead, they are not streamed")  # fmt: skip
        if isinstance(content, str):
            return ImageFolder(self.root)(content, self.side), [record]
        return fit(decode(self.root / name, content), self.side), [record]


class StreamDataModule(L.LightningDataModule):
    """A stream to train on, questions of a corpus to validate with.

    Its checkpoint state is the number of batches trained on, so that a resumed run goes on behind them (with the same
    number of ranks and workers).

    Args:
        stream: training samples.
        tokens: tokenizer and sizes of the model.
        batch_size: samples a batch and device.
        validation: corpus whose ``val`` split is asked; None validates nothing.
        views: text views that the alignment head wants.
        extended_lm: also encode conversations with extended answers.
        num_workers: loader processes.
        eval_batch_size: questions a validation batch.
        val_limit: validation questions to use.
    """

    def __init__(
        self,
        stream: RowStream,
        tokens: Tokens,
        batch_size: int,
        validation: Corpus | None = None,
        views: Sequence[str] = (),
        extended_lm: bool = False,
        num_workers: int = 0,
        eval_batch_size: int = 64,
        val_limit: int = 500,
    ) -> None:
        super().__init__()
        self.stream, self.tokens, self.batch_size, self.num_workers = stream, tokens, batch_size, num_workers
        self.collate = partial(collate_conversations, tokens=tokens, views=views, extended_lm=extended_lm)
        self.validation, self.eval_batch_size, self.val_limit = validation, eval_batch_size, val_limit

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the stream, from where the checkpoint left off."""
        return DataLoader(self.stream, batch_size=self.batch_size, drop_last=True, collate_fn=self.collate,
                          num_workers=self.num_workers)  # fmt: skip

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Questions of the validation split."""
        if self.validation is None:
            return []
        records = take_questions(self.validation.splits["val"], self.val_limit)
        return question_loader(
            records, ImageCache(self.validation, self.stream.side), self.tokens, self.eval_batch_size, "evenly"
        )

    def state_dict(self) -> dict[str, Any]:
        """How far training has come."""
        return {"batches": trained_batches(self.trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue behind the batches that were trained on."""
        self.stream.start_behind(state_dict["batches"], self.batch_size)
