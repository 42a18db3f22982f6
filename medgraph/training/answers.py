"""Answers of a model to a whole data set, in one file that belongs to that model and that data."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.config import ConfigError
from medgraph.data.collate import Tokens
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus, take_questions
from medgraph.evaluation.predictions import Prediction
from medgraph.models.medvlm import MedVLM
from medgraph.training.predict import predict
from medgraph.training.trained import fingerprint
from medgraph.training.views import plain_views


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, and how.

    Attributes:
        splits: names of the splits.
        limit: questions a split; None: all.
        batch_size: questions a batch; changes nothing but the time.
        max_new_tokens: longest answer.
        likelihood: also score the allowed answers of choice and closed questions.
        controls: also ask without the image and with another one.
    """

    splits: Sequence[str]
    limit: int | None
    batch_size: int
    max_new_tokens: int
    likelihood: bool
    controls: bool


def answer_corpus(vlm: MedVLM, tokens: Tokens, corpus: Corpus, file: Path, asking: Asking) -> list[Prediction]:
    """Answer questions into a file that is continued where it ended, whatever ended it.

    What a file belongs to stands in ``FILE.source.json``: the model, the data (images by name), the longest answer and
    whether likelihoods are scored. Splits, limit and controls may grow from call to call.

    Args:
        vlm: the model, where it is to compute.
        tokens: tokenizer and sizes of the model.
        corpus: the data.
        file: JSON lines that `medgraph.evaluation.predictions.read_predictions` reads.
        asking: what is asked, and how.

    Raises:
        ConfigError: for a split without records, or a file that another model or other data has written or that
            another process writes.
    """
    for name in asking.splits:
        if not corpus.splits.get(name):
            known = ", ".join(name for name, records in corpus.splits.items() if records)
            raise ConfigError(f"--split {name}: the data has no such records; expected some of {known}")
    asked = {name: take_questions(corpus.splits[name], asking.limit) for name in asking.splits}
    source = {
        "model": fingerprint(vlm),
        "data": corpus.fingerprint(),
        "max_new_tokens": asking.max_new_tokens,
        "likelihood": asking.likelihood,
    }
    images = ImageCache(corpus, vlm.vision.image_size)
    with _claim(file, source):
        return predict(
            vlm, plain_views(asked, images, asking.controls), tokens, file, batch_size=asking.batch_size,
            max_new_tokens=asking.max_new_tokens, likelihood=asking.likelihood,
            device=next(vlm.parameters()).device,
        )  # fmt: skip


@contextmanager
def _claim(file: Path, source: Mapping[str, Any]) -> Iterator[None]:
    """Hold a file of answers, made from one source by one process at a time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.source.json")
    if file.exists() and not beside.exists():
        raise ConfigError(f"{file} exists, and {beside.name} does not: this command did not write it; choose another")
    with beside.open("a+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{file} is in use by another process; wait for it or choose another") from error
        held.seek(0)
        text = held.read()
        if not text or not file.exists():
            held.truncate(0)
            held.write(json.dumps(source) + "\n")
            held.flush()
        elif (before := json.loads(text)) != source:
            changed = [f"{name} {value} (was {before.get(name)})" for name, value in source.items()
                       if before.get(name) != value]  # fmt: skip
            raise ConfigError(f"{file} was written with another {', '.join(changed)}; choose another file")
        yield
