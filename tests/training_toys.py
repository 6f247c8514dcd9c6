"""Small networks and images with known answers for the tests of training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from holdfast.data import Sample
from holdfast.models import load_model
from holdfast.training.augment.pipeline import Pipeline
from holdfast.training.batch import TrainingBatch
from holdfast.training.batches import TrainingData
from holdfast.training.reading import recipe_of
from holdfast.training.trainer import Trainer

# Two classes told apart by which half of the image is bright.
PIXELS = np.zeros((40, 8, 8, 3), np.uint8)
LABELS = np.arange(40) % 2
PIXELS[LABELS == 0, :4] = 204
PIXELS[LABELS == 1, 4:] = 204
PIXELS += np.random.default_rng(0).integers(0, 30, PIXELS.shape, dtype=np.uint8)


class Halves:
    """The first `count` images of 8 x 8 pixels, two classes."""

    name, classes = "halves", ("top", "bottom")

    def __init__(self, split="train", count=40):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def fingerprint(self):
        return f"halves {self.count}"

    def read(self, ids=None):
        for place in range(self.count) if ids is None else ids:
            yield Sample(place, f"row {place}", PIXELS[place], int(LABELS[place]))


def linear(outputs=2):
    """A linear network with fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, outputs))


def with_norms():
    """A convolutional network with batch normalization and dropout, fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64, 2),
        )


def recipe(**sections):
    """Recipe of a few quick epochs; sections as in YAML, `train={...}`."""
    body = {
        "data": {"name": "halves", "validation": None},
        "model": {"name": "toy"},
        "train": {"epochs": 2, "batch_size": 8, **sections.pop("train", {})},
        "optimizer": {"lr": 0.01, **sections.pop("optimizer", {})},
        "validate": {"train_n": 0},
    }
    return recipe_of({**body, **sections})


def data_for(wanted, count=40, classifier=None):
    """Training images of `halves` as the recipe says."""
    net = classifier or load_model(linear(), device="cpu")
    return TrainingData(
        Halves(count=count),
        None,
        Pipeline(wanted.augment),
        net.preprocessing,
        seed=wanted.seed,
    )


def trainer(wanted, net=None, count=40):
    """Trainer of a network on `halves`."""
    classifier = load_model(linear() if net is None else net, device="cpu")
    return Trainer(wanted, classifier, data_for(wanted, count))


def trained(net=None, **sections):
    """The network after its training, and the losses of its steps."""
    one = trainer(recipe(**sections), net)
    losses = [step.loss for step in one.run()]
    return one.result.net, losses


class Floats:
    """Float images as training data, in the order of `TrainingData`; never augmented."""

    def __init__(self, images, labels, seed):
        self.images, self.labels = images, labels
        self.order = TrainingData.order.__get__(self)
        self.seed = seed

    def __len__(self):
        return len(self.images)

    def steps(self, batch_size):
        return -(-len(self) // batch_size)

    def batches(self, epoch, *, batch_size, start=0, rank=0, world=1):
        classes = int(self.labels.max()) + 1
        for rows in torch.split(self.order(epoch), batch_size)[start:]:
            yield TrainingBatch.of(self.images[rows], self.labels[rows], rows, classes=classes)
