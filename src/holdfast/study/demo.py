"""The study that ships: does augmentation make a small network hold better, and at what price?

Four networks of one architecture learn scikit-learn's handwritten digits (scaled to 32 x 32)
from the same first weights: plainly; with MixUp and small rotations and shifts; with Gaussian
noise; on adversarial images. Each is measured clean, under a sweep of Gaussian noise, under the
15 corruptions of ImageNet-C at five severities and under PGD at five radii, with its calibration;
and on a few images under AutoAttack, which takes its time where a network holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.data import open_dataset
from holdfast.measuring import Options, Subject, open_subject
from holdfast.models import load_model
from holdfast.perturb.base import Perturbation
from holdfast.perturb.conditions import parse_conditions
from holdfast.records.trainings import TRAINING_FILE, read_training
from holdfast.training import Event, Recipe, load_recipe
from holdfast.training import Options as TrainingOptions
from holdfast.training.run import train

# Digits are nearly black and white, so radii are those of MNIST and not of photographs.
_CURVE = "pgd(norm=linf, eps=[0.05, 0.1, 0.15, 0.2, 0.3], steps=20)"
_THOROUGH = "autoattack(norm=linf, eps=0.1)"
THOROUGH_IMAGES = 20


@dataclass(frozen=True)
class Entry:
    """A network of the demo."""

    name: str
    recipe: Recipe


ENTRIES = (
    Entry("plain", load_recipe("demo-plain")),
    Entry("mixup + shifts", load_recipe("demo-mixup")),
    Entry("noise-trained", load_recipe("demo-noise")),
    Entry("adversarially trained", load_recipe("demo-adversarial")),
)


def conditions() -> list[Perturbation]:
    """Clean, the noise sweep, the standard corruptions and PGD, on all images."""
    return parse_conditions(["noise-sweep", "corruptions", _CURVE])


def thorough() -> list[Perturbation]:
    """AutoAttack, on `THOROUGH_IMAGES` of the images."""
    return parse_conditions(_THOROUGH)


class Trainee:
    """An entry's network; its folder carries its recipe's digest, so none is trained twice."""

    def __init__(self, entry: Entry, folder: Path) -> None:
        self.entry = entry
        self.folder = folder / entry.recipe.digest[:12]

    @property
    def trained(self) -> bool:
        """Whether its training is finished."""
        there = (self.folder / TRAINING_FILE).is_file()
        return there and read_training(self.folder).status == "finished"

    def train(self) -> Iterator[Event]:
        """Train it, or go on."""
        return train(self.entry.recipe, self.folder, TrainingOptions(device="cpu"))

    def subject(self, options: Options, n: int | None = None) -> Subject:
        """The trained network and the test digits, or `n` of them."""
        classifier = load_model(str(self.folder))
        dataset = open_dataset("digits", split="test")
        return open_subject(classifier, dataset, options, n=n, name=self.entry.name)
