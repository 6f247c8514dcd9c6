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

import safetensors.torch
import torch
from torch import Tensor, nn

from holdfast.data import Broken, open_dataset
from holdfast.measuring import Options, Subject, open_subject
from holdfast.models import load_model, small_cnn
from holdfast.perturb.base import Perturbation
from holdfast.perturb.conditions import parse_conditions
from holdfast.training import Epoch, Recipe, fit

_INIT_SEED = 0
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
    Entry("plain", Recipe()),
    Entry("mixup + shifts", Recipe(mixup=0.3, rotation=10, shift=0.08)),
    Entry("noise-trained", Recipe(noise=0.4)),
    Entry("adversarially trained", Recipe(epochs=12, adversarial_eps=0.15, adversarial_steps=3)),
)


def conditions() -> list[Perturbation]:
    """Clean, the noise sweep, the standard corruptions and PGD, on all images."""
    return parse_conditions(["noise-sweep", "corruptions", _CURVE])


def thorough() -> list[Perturbation]:
    """AutoAttack, on `THOROUGH_IMAGES` of the images."""
    return parse_conditions(_THOROUGH)


def training_images() -> tuple[Tensor, Tensor]:
    """Training split of the digits: images float [N, 3, 32, 32] in [0, 1], labels [N]."""
    images, labels = [], []
    for sample in open_dataset("digits", split="train").read():
        if isinstance(sample, Broken):
            raise TypeError(f"the embedded digits hold no broken image, got {sample}")
        images.append(torch.tensor(sample.image).permute(2, 0, 1).float() / 255)
        labels.append(sample.label)
    return torch.stack(images), torch.tensor(labels)


class Trainee:
    """An entry's network; the checkpoint carries its recipe's digest, so none is trained twice."""

    def __init__(self, entry: Entry, folder: Path) -> None:
        self.entry = entry
        self.path = folder / f"{entry.recipe.digest[:12]}.safetensors"

    @property
    def trained(self) -> bool:
        """Whether its checkpoint is there."""
        return self.path.is_file()

    def train(self, images: Tensor, labels: Tensor) -> Iterator[Epoch]:
        """Train it, yielding each epoch, and keep the weights."""
        net = _fresh()
        yield from fit(net, images, labels, self.entry.recipe)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".tmp")
        safetensors.torch.save_file(net.state_dict(), part)
        part.replace(self.path)

    def subject(self, options: Options, n: int | None = None) -> Subject:
        """The trained network and the test digits, or `n` of them."""
        classifier = load_model("small:cnn", weights=self.path)
        dataset = open_dataset("digits", split="test")
        return open_subject(classifier, dataset, options, n=n, name=self.entry.name)


def _fresh() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_INIT_SEED)
        return small_cnn(classes=10)
