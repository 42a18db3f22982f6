import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgraph.evaluation.predictions import Prediction, PredictionWriter
from medgraph.evaluation.results import summarise
from medgraph.report.failures import choose_failures

AREAS, MODALITIES, FINDINGS = ("Lung", "Brain", "Knee"), ("CT", "MRI", "X-ray"), ("normal", "mass", "effusion")


def make_predictions(seed: int = 0, images: int = 40, skill: float = 0.8) -> list[Prediction]:
    """Answers of a model that is right with probability `skill` (less on ood), and blind answers beside it."""
    rng, made = np.random.default_rng(seed), []
    for split, right in (("test", skill), ("ood", skill - 0.15)):
        for i in range(images):
            modality, area, finding = (str(rng.choice(names)) for names in (MODALITIES, AREAS, FINDINGS))
            questions = {"modality": (modality, MODALITIES), "area": (area, AREAS), "finding": (finding, FINDINGS)}
            questions["presence"] = (str(rng.choice(["yes", "no"])), ("yes", "no"))
            for kind, (answer, pool) in questions.items():
                answer_type = {"presence": "closed", "finding": "choice"}.get(kind, "open")
                for control, chance in (("none", right), ("no_image", 0.1)):
                    text = answer if rng.random() < chance else str(rng.choice(pool))
                    logits = rng.normal(size=len(pool)) + 3 * (np.array(pool) == text)
                    logprobs = tuple((logits - np.logaddexp.reduce(logits)).tolist())
                    unclear = answer_type != "open" and rng.random() < 0.05
                    made.append(
                        Prediction(
                            id=f"{i}-{kind}", image_id=f"{split}-{i}", split=split, control=control, subset="phantom",
                            triplet=f"{modality}/{area}/{finding}", question_type=kind, answer_type=answer_type,
                            options=FINDINGS if answer_type == "choice" else (),
                            prompt=f"USER: <image>\nWhich {kind}? ASSISTANT:", answer=answer,
                            prediction="cannot say" if unclear else text, score=float(text == answer and not unclear),
                            logprobs=() if answer_type == "open" else logprobs,
                        )
                    )  # fmt: skip
    return made


def make_run(folder: Path, seed: int = 0, images: int = 40, skill: float = 0.8) -> Path:
    """Write a complete run folder such as training leaves behind."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("name: exgra_10pct\nseed: 0\ndata:\n  name: phantom\n  fraction: 0.1\n")
    environment = {"git": "0123abcdef+dirty", "gpus": [], "packages": {"torch": "2.13.0"}}
    compute = {f"stage{i}": {"steps": 133, "seconds": 40.0 * i, "images": 4256, "tokens": 1e6} for i in (1, 2, 3)}
    data = {"fingerprint": "9f8db0723baf6f12", "records": {"val": 600}, "notes": {"held-out combinations": 8}}
    for name, values in (("environment", environment), ("compute", compute), ("data", data)):
        (folder / f"{name}.json").write_text(json.dumps(values))
    with (folder / "metrics.csv").open("w", newline="") as file:
        columns = ["stage", "stage_step", "step", "train/loss", "train/align/hamming", "val/accuracy", "train/lr"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for step in range(0, 400, 2):
            noise = float(rng.normal(0, 0.08))
            loss = {
                "train/loss": 0.4 + 2.2 * np.exp(-step / 70) + noise,
                "train/lr": 1e-3 * (1 + np.cos(np.pi * step / 400)) / 2,
            }
            place = {"stage": f"stage{1 + step // 134}", "stage_step": step % 134, "step": step}
            writer.writerow({**place, **loss, "train/align/hamming": 0.9 * np.exp(-step / 200)})
            if step % 20 == 0:
                writer.writerow({**place, "val/accuracy": 0.8 - 0.6 * np.exp(-step / 60) + noise / 9})
    predictions = make_predictions(seed, images, skill)
    with PredictionWriter(folder / "predictions.jsonl") as predictions_file:
        predictions_file.write(predictions)
    validation = make_predictions(seed + 1, 20, skill)
    summarise(predictions, resamples=100, validation=validation).save(folder / "results.json")
    failures = [
        {"id": failure.id, "split": failure.split, "image": f"samples/{i % 8}.png"}
        for i, failure in enumerate(choose_failures(predictions))
    ]
    (folder / "failures.json").write_text(json.dumps(failures))
    (folder / "samples").mkdir(exist_ok=True)
    samples = []
    for i, prediction in enumerate([p for p in predictions if p.control == "none"][:8]):
        y, x = np.mgrid[-1:1:64j, -1:1:64j]
        pixels = 200 * np.exp(-3 * (x**2 + y**2)) + 30 * rng.random((64, 64))
        Image.fromarray(np.repeat(pixels[..., None], 3, axis=2).astype(np.uint8)).save(folder / f"samples/{i}.png")
        shown = {"question": prediction.prompt, "answer": prediction.answer, "prediction": prediction.prediction}
        samples.append(
            {"image": f"samples/{i}.png", **shown, "correct": prediction.score == 1, "split": prediction.split}
        )
    (folder / "samples.json").write_text(json.dumps(samples))
    return folder


@pytest.fixture(scope="session")
def predictions() -> list[Prediction]:
    return make_predictions(images=120)


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "9f3c2a71")


@pytest.fixture(scope="session")
def references(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("references") / "references.json"
    arms = ["LM loss only, 10 %", "LM loss on extended text, 10 %", "InfoNCE, 10 %", "LM loss only, 100 %"]
    path.write_text(
        json.dumps(
            [
                {"arm": arm, "split": split, "accuracy": 0.7 + 0.03 * i - (split == "ood") * 0.08,
                 "low": 0.66 + 0.03 * i - (split == "ood") * 0.08, "high": 0.74 + 0.03 * i - (split == "ood") * 0.08,
                 "n": 1500, "seeds": [0, 1, 2], "date": "2026-11-20"}
                for split in ("test", "ood") for i, arm in enumerate(arms)
            ]
        )
    )  # fmt: skip
    return path
