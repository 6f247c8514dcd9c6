"""The same short fine-tuning of a model and of what became of it.

All weights are trained, the last layer's from what they are: AdamW at 1e-4, cosine, flips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.models import Classifier, load_model
from holdfast.training import Options, Recipe
from holdfast.training.events import Event
from holdfast.training.reading import recipe_of
from holdfast.training.run import train

_LR, _HEAD_LR = 1e-4, 1e-4  # of a network that knows its classes already
_BATCH = 32


@dataclass(frozen=True)
class FineTuning:
    """How both are trained before they are measured.

    Attributes:
        epochs: Passes over the images.
        data: Name of the set.
        split: Of the images that are trained on.
        labels: Maps class names onto the model's outputs.
        weights: File of the original's weights.
        seed: The same for both: the same order, the same augmentation.
    """

    epochs: int
    data: str
    split: str
    labels: str | None = None
    weights: Path | None = None
    seed: int = 0

    def recipe(self, model: str) -> Recipe:
        """Recipe for a model or a changed one.

        Raises:
            BadValueError: A setting that recipes refuse.
        """
        weights = None if self.weights is None else str(self.weights)
        return recipe_of(
            {
                "data": {"name": self.data, "split": self.split, "labels": self.labels},
                "model": {"name": model, "weights": weights, "part": "all"},
                "augment": ["flip"],
                "train": {"epochs": self.epochs, "batch_size": _BATCH},
                "optimizer": {
                    "kind": "adamw",
                    "lr": _LR,
                    "head_lr": _HEAD_LR,
                    "weight_decay": 0.01,
                },
                "schedule": {"kind": "cosine", "warmup": 0},
                "seed": self.seed,
            }
        )

    def train(self, model: str, folder: Path, device: str) -> Iterator[Event]:
        """Train, or go on; a finished training is not repeated."""
        yield from train(self.recipe(model), self.place(model, folder), Options(device=device))

    def load(self, model: str, folder: Path, device: str) -> Classifier:
        """The trained network."""
        return load_model(str(self.place(model, folder)), device=device)

    def place(self, model: str, folder: Path) -> Path:
        """Where its training lies; the folder's name says by which recipe."""
        return folder / self.recipe(model).digest[:12]
