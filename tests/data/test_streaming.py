import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from medgraph.config import Columns, ConfigError
from medgraph.data import streaming
from medgraph.data.errors import DataError
from medgraph.data.streaming import RowStream, StreamDataModule


def png(level):
    buffer = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def table():
    rows = [{"picture": {"bytes": png(i), "path": None}, "q": f"Question {i}?", "answer": "yes"} for i in range(24)]
    return datasets.Dataset.from_list(rows).cast_column("picture", datasets.Image())


COLUMNS = Columns(image="picture", question="q")


def stream(table, shards, **options):
    options = {"side": 64, "columns": COLUMNS, "buffer": 4, "epochs": 1, **options}
    return RowStream(table.to_iterable_dataset(num_shards=shards), **options)


def questions(samples):
    return [record.question for _, records in samples for record in records]


def shares(monkeypatch, make, ranks, workers):
    """What each worker of each pretended rank reads."""

    class Info:
        def __init__(self, id):
            self.id, self.num_workers = id, workers

    out = []
    for rank in range(ranks):
        for worker in range(workers):
            monkeypatch.setattr(streaming, "rank_and_ranks", lambda rank=rank: (rank, ranks))
            monkeypatch.setattr(streaming, "get_worker_info", lambda worker=worker: Info(worker))
            out.append(questions(make()))
    monkeypatch.setattr(streaming, "get_worker_info", get_worker_info)
    return out


@pytest.mark.parametrize(("shards", "ranks", "workers"), [(1, 1, 1), (6, 2, 2), (6, 2, 1), (2, 2, 3), (5, 1, 4)])
def test_every_row_is_read_by_one_worker_of_one_rank(monkeypatch, table, shards, ranks, workers):
    read = shares(monkeypatch, lambda: stream(table, shards), ranks, workers)
    assert sorted(question for share in read for question in share) == sorted(f"Question {i}?" for i in range(24))
    assert all(read)


def test_samples_are_what_rows_say_and_the_order_changes_with_the_epoch(table):
    samples = list(stream(table, 3, epochs=2))
    first, second = questions(samples[:24]), questions(samples[24:])
    assert first != second
    assert sorted(first) == sorted(second)
    assert questions(stream(table, 3, seed=1)) != first
    image, (record,) = samples[0]
    assert image.shape == (64, 64, 3)
    assert image[0, 0, 0] == int(record.question.split()[1].strip("?"))
    assert record.answer_type == "closed"
    again = next(image_id for _, (r,) in samples[24:] if r.question == record.question for image_id in [r.image_id])
    assert again == record.image_id


@pytest.mark.filterwarnings("ignore:.*dataloader is not resumable", "ignore:.*does not have many workers")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_resumed_stream_goes_on_behind_what_was_trained_on(table, tokens, corpus, resumed, workers):
    def make():
        return StreamDataModule(stream(table, 4, epochs=None), tokens, 4, corpus, num_workers=workers)

    left, trained = resumed(make, 3, max_epochs=-1, max_steps=8, limit_val_batches=0)
    assert trained == left
    assert len(left) == 5


def test_validation_asks_the_questions_of_a_corpus(table, tokens, corpus):
    module = StreamDataModule(stream(table, 1), tokens, 4, corpus, views=("answer",))
    batch = next(iter(module.train_dataloader()))
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert set(batch.texts) == {"answer"}
    asked = [record.id for batch in module.val_dataloader() for record in batch.records]
    assert sorted(asked) == sorted(record.id for record in corpus.splits["val"])
    assert StreamDataModule(stream(table, 1), tokens, 4).val_dataloader() == []


def test_mistakes(table):
    with pytest.raises(ConfigError, match="buffer=0: expected at least 1 row"):
        stream(table, 1, buffer=0)
    with pytest.raises(DataError, match="expected image, and either label or question"):
        next(iter(stream(table, 1, columns=Columns(image="picture"))))
    broken = datasets.Dataset.from_list([{"picture": b"no image", "q": "Q?", "answer": "a"}])
    with pytest.raises(DataError, match="expected a complete image file"):
        next(iter(stream(broken, 1)))
    labelled = {"picture": "a.png", "label": "x", "modality": "CT", "area": "Lung", "task": "cancer"}
    with pytest.raises(DataError, match="expected question and answer"):
        next(iter(stream(datasets.Dataset.from_list([labelled]), 1)))
