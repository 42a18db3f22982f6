"""A small Med-MAT release, written on the fly."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (20, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def released_record(number: int, image: str, label: str, labels: Sequence[str], dataset: int) -> dict:
    options = sorted({label, *labels[:3]}, key=lambda option: (len(option) * number) % 7)
    lines = [f"{letter}: {option}" for letter, option in zip("ABCD", options, strict=False)]
    question = f"What is shown in image {number % 6}?"
    return {
        "id": number,
        "caption": label,
        "image": image,
        "Question": question,
        "Answer": label,
        "Question-choice": "\n".join([question, *lines, "Answer with the option's letter from the given choices."]),
        "Answer-choice": "ABCD"[options.index(label)],
        "data-no": str(dataset),
    }


@pytest.fixture
def make_release(tmp_path):
    """Write a release: ``{subset number: {label: number of images}}``; ``groups`` rows go to groups.csv."""

    def make(
        subsets: Mapping[int, Mapping[str, int]],
        groups: Sequence[Mapping[str, str]] = (),
        folder: str = "Aggregated_Subsets",
        name: str = "Subset--{:02d}-train.json",
    ) -> Path:
        root = tmp_path / "release"
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number, counts in subsets.items():
            records = []
            for label, count in counts.items():
                for i in range(count):
                    image = f"med-mat/set {number}/{label}/{label}- ({i + 1}).png"
                    write_image(root / image, seed=hash_free_seed(number, label, i))
                    records.append(released_record(len(records) + 1, image, label, list(counts), number))
            (root / folder / name.format(number)).write_text(json.dumps(records))
        if groups:
            with (root / "groups.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(groups[0]))
                writer.writeheader()
                writer.writerows(groups)
        return root

    return make


def hash_free_seed(number: int, label: str, i: int) -> int:
    return number * 100_000 + sum(map(ord, label)) * 100 + i


@pytest.fixture
def edit():
    """Change a JSON list in place: ``edit(path, index, field=value)``; a value of None removes the field."""

    def change(path: Path, index: int, **fields) -> None:
        records = json.loads(path.read_text())
        for field, value in fields.items():
            field = field.replace("_", "-")
            if value is None:
                del records[index][field]
            else:
                records[index][field] = value
        path.write_text(json.dumps(records))

    return change


@pytest.fixture
def recorder():
    """A LightningModule of one number that remembers the ids it was shown."""
    import lightning as L
    import torch

    class Recorder(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.trained, self.asked = [], []

        def training_step(self, batch):
            self.trained.append(sorted(name for names in batch.ids for name in names))
            return self.weight * batch.images.float().mean()

        def validation_step(self, batch):
            self.asked += [record.id for record in batch.records]

        def test_step(self, batch, batch_idx, dataloader_idx=0):
            self.validation_step(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Recorder


@pytest.fixture
def trainer(tmp_path):
    """A bare Trainer on the CPU, one epoch unless said otherwise."""
    import lightning as L

    return lambda **options: L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, num_sanity_val_steps=0, use_distributed_sampler=False,
        **{"max_epochs": 1, "enable_checkpointing": False, **options},
    )  # fmt: skip


@pytest.fixture
def resumed(recorder, trainer, tmp_path):
    """Batches of a run behind a checkpoint it saved, and of a new one that goes on from there."""
    from lightning.pytorch.callbacks import LambdaCallback

    def run(make, stop, **options):
        whole, rest, file = recorder(), recorder(), tmp_path / "stopped.ckpt"
        save = LambdaCallback(
            on_train_batch_end=lambda runner, *_: runner.global_step == stop and runner.save_checkpoint(file)
        )
        trainer(callbacks=[save], **options).fit(whole, datamodule=make())
        trainer(**options).fit(rest, datamodule=make(), ckpt_path=file, weights_only=True)
        return whole.trained[stop:], rest.trained

    return run
