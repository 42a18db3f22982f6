"""Answers of models that do not exist: to see what a score, an interval or a test makes of what is known to be true.

A simulated model *knows* the answer to a question or guesses. Questions about one image are known together to some
extent, as in life, and so are questions by two models: that is what clustered intervals and paired tests are for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medgraph.data.records import AnswerType
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.scoring import strict_score

FINDINGS = ("nodule", "effusion", "fracture", "normal")
KINDS: dict[str, tuple[AnswerType, tuple[str, ...]]] = {
    "presence": ("closed", ("yes", "no")),
    "side": ("open", ("left", "right", "both sides")),
    "finding": ("choice", FINDINGS),
}
"""Question types: how they are answered, and what with."""


@dataclass(frozen=True, slots=True)
class SimulatedTest:
    """A test set that models can be asked about: one question of each of `KINDS` an image.

    Attributes:
        images: number of images; three questions each.
        yes_share: how often yes is the truth of a closed question.
        spread: standard deviation, in logits, of how easy an image is; all models find the same images easy.
        seed: of truths and images.
    """

    images: int = 100
    yes_share: float = 0.5
    spread: float = 1.0
    seed: int = 0

    def answers(self, knows: float = 0.6, says_yes: float = 0.5, wordy: float = 0.0, seed: int = 0) -> list[Prediction]:
        """Ask a model.

        Args:
            knows: share of the questions about an image of average ease that it knows, in (0, 1).
            says_yes: how often it guesses yes where it does not know.
            wordy: share of the answers that it gives in a sentence, which strict scoring does not accept for closed
                and open questions.
            seed: of the model: what it knows beyond what is easy, and its guesses.

        Returns:
            Predictions of the split ``test``, in the same order for every model.

        Raises:
            ValueError: if a share is out of range.

        Example:
            >>> answers = SimulatedTest(images=200).answers(knows=0.9)
            >>> len(answers), 0.8 < sum(p.score for p in answers) / len(answers) < 1
            (600, True)
        """
        for name, share in (("says_yes", says_yes), ("wordy", wordy), ("yes_share", self.yes_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}={share} is no share in [0, 1]")
        if not 0 < knows < 1:
            raise ValueError(f"knows={knows} must lie between 0 and 1")
        world, model = np.random.default_rng([0, self.seed]), np.random.default_rng([1, self.seed, seed])
        made = []
        for image in range(self.images):
            ease = np.log(knows / (1 - knows)) + self.spread * world.standard_normal()
            truth_of = {
                "presence": "yes" if world.random() < self.yes_share else "no",
                "side": str(world.choice(KINDS["side"][1])),
                "finding": str(world.choice(FINDINGS)),
            }
            for kind, (answer_type, allowed) in KINDS.items():
                truth, text = truth_of[kind], str(model.choice(allowed))
                if kind == "presence":
                    text = "yes" if model.random() < says_yes else "no"
                if model.random() < 1 / (1 + np.exp(-ease)):
                    text = truth
                if model.random() < wordy:
                    text = f"The answer is {text}."
                options = allowed if answer_type == "choice" else ()
                made.append(
                    Prediction(
                        id=f"{image}-{kind}", image_id=f"image-{image}", split="test", subset="simulated",
                        triplet="CT/Lung/diagnosis", question_type=kind, answer_type=answer_type, options=options,
                        prompt=f"USER: <image>\nWhat about {kind}? ASSISTANT:", answer=truth, prediction=text,
                        score=strict_score(truth, text, answer_type, options),
                    )
                )  # fmt: skip
        return made
