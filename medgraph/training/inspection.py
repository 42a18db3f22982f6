"""What a model is fed, taken from the batches of the run itself: nothing here encodes anything a second time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from medgraph.config import ConfigError, ExperimentConfig
from medgraph.data import build_corpus
from medgraph.data.collate import ConversationBatch, QuestionBatch, TokenBatch, Tokens
from medgraph.data.conversation import IGNORE
from medgraph.data.datamodule import question_loader
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus, Image, Record
from medgraph.models.skeleton import build_skeleton
from medgraph.training.prepare import complete, corpus_texts
from medgraph.training.stages import SPLIT, plan_stages

Kind = Literal["text", "special", "image", "supervised"]
"""What a token is: part of the prompt, a special token, a place of the image, or something the model learns to say."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring tokens of one kind.

    Attributes:
        text: what they spell; of places of the image the mark alone.
        kind: of all of them.
        ids: token ids.
    """

    text: str
    kind: Kind
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a batch.

    Attributes:
        title: records and image it is made of.
        image: (S, S, 3) uint8 as the model gets it.
        sequences: by name, what the language model reads: conversations, and the views of the alignment head.
        records: where it comes from.
    """

    title: str
    image: Image
    sequences: dict[str, list[Segment]]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Inspection:
    """Samples of a split, and how the run meets them."""

    title: str
    samples: list[Sample]


def inspect_split(config: ExperimentConfig, split: str, count: int) -> Inspection:
    """The first samples of a split as the run gets them: of its first batch, augmented, in its order.

    Args:
        config: the study; what stages leave open is filled in.
        split: ``train`` and ``task`` give the conversations of the stage that trains on them (stage 2 and 3; stage 1
            where 2 is left out), ``val``, ``test`` and ``ood`` the questions of the evaluation.
        count: samples, at least 1; a training batch may have fewer.

    Raises:
        ConfigError: for a split without records.
        DataError: for a record that cannot be used.
    """
    config = complete(config)
    corpus = build_corpus(config.data)
    if not corpus.splits.get(split):
        known = ", ".join(name for name, records in corpus.splits.items() if records)
        raise ConfigError(f"--split {split}: the data has no such records; expected one of {known}")
    vlm, _ = build_skeleton(config.model, corpus_texts(corpus))
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, config.model.max_length)
    images = ImageCache(corpus, vlm.vision.image_size)
    if split not in SPLIT.values():
        records = list(corpus.splits[split])[:count]
        batch = next(iter(question_loader(records, images, tokens, count)))
        return Inspection(f"{config.name}: questions of {split}", list(_questions(batch, tokens.tokenizer)))
    stages = plan_stages(config, corpus, tokens, images, aligned=config.alignment.name != "none")
    name = [name for name, stage in stages.items() if SPLIT[name] == split and (stage.steps or name != "stage2")][-1]
    batch = next(iter(stages[name].data.train_dataloader()))
    return Inspection(
        f"{config.name}: {name} on {split}", list(_conversations(batch, corpus, tokens.tokenizer))[:count]
    )


def _conversations(batch: ConversationBatch, corpus: Corpus, tokenizer: Any) -> Iterator[Sample]:
    known = {record.id: record for split in SPLIT.values() for record in corpus.splits[split]}
    for row, ids in enumerate(batch.ids):
        records = [known[id_] for id_ in ids]
        sequences = {"conversation": _segments(batch.lm, row, tokenizer)}
        if batch.lm_extended is not None:
            sequences["with extended answers"] = _segments(batch.lm_extended, row, tokenizer)
        sequences |= {f"view {name}": _segments(texts, row, tokenizer) for name, texts in batch.texts.items()}
        yield Sample(_title(records), batch.images[row].permute(1, 2, 0).numpy(), sequences, records)


def _questions(batch: QuestionBatch, tokenizer: Any) -> Iterator[Sample]:
    assert batch.images is not None
    for row, record in enumerate(batch.records):
        image = batch.images[row].permute(1, 2, 0).numpy()
        yield Sample(_title([record]), image, {"prompt": _segments(batch.prompts, row, tokenizer)}, [record])


def _title(records: Sequence[Record]) -> str:
    first = records[0]
    return f"{first.subset} {first.triplet}, image {first.image}: {', '.join(record.id for record in records)}"


def _segments(batch: TokenBatch, row: int, tokenizer: Any) -> list[Segment]:
    """The real tokens of a row by kind; texts are decoded behind what stands before them, so that no blank is lost."""
    real = batch.mask[row]
    ids: list[int] = batch.ids[row][real].tolist()
    labels = [IGNORE] * len(ids) if batch.labels is None else batch.labels[row][real].tolist()
    image, specials = tokenizer.convert_tokens_to_ids("<image>"), set(tokenizer.all_special_ids)

    def kind(position: int) -> Kind:
        if labels[position] != IGNORE:
            return "supervised"
        return "image" if ids[position] == image else "special" if ids[position] in specials else "text"

    segments, before = [], ""
    for name, positions in groupby(range(len(ids)), kind):
        where = list(positions)
        after = tokenizer.decode(ids[: where[-1] + 1], clean_up_tokenization_spaces=False)
        segments.append(Segment(after[len(before) :], name, tuple(ids[where[0] : where[-1] + 1])))
        before = after
    return [replace(s, text=tokenizer.decode(s.ids[:1])) if s.kind == "image" else s for s in segments]
