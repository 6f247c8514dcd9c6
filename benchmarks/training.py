"""Claim: adversarial training in less time, and standard training in no more than a bare loop.

Peer: the loop that papers publish, written out below, with PGD of torchattacks (3.5.1). Both sides
train a ResNet-18 for 32 pixels (3 x 3 stem, no max pooling) by SGD on the same noise images in
the same precision; PGD with seven steps of 2/255 in 8/255, random start, the network in evaluation
mode while attacking. They take turns, step by step, in one process; the ratio of each round is a
pair of neighbors. The loss of both sides' adversarial images at equal weights is printed too: the
attack is as strong.

    python benchmarks/training.py [--threads 2] [--batch 128] [--rounds 5] [--peer FOLDER]
    python benchmarks/training.py --device cuda --batch 256 --steps 20 [--precision bfloat16]

`--peer` names a folder to import torchattacks from, where it is not installed beside the project
(pip install --no-deps --target FOLDER torchattacks==3.5.1). `--peer-channels-last` gives the
peer's network the layout that ours has. `--processor-time` counts what all threads of this process
spend instead of the clock's time: for a machine that others use at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import itertools
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.randomness import keys_for
from holdfast.models import Card, Classifier, Preprocessing
from holdfast.models.training_copy import CraftingCopy
from holdfast.perturb.attacks.inner import worst_images
from holdfast.perturb.attacks.pgd import PGD
from holdfast.training import Recipe, Trainer, recipe_of
from holdfast.training.batch import TrainingBatch

_EPS, _STEP, _STEPS = 8 / 255, 2 / 255, 7
_CLASSES = 10
_ENDLESS = 1 << 30  # steps of an epoch
_KINDS = ("adversarial", "standard")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resnet18() -> nn.Module:
    """ResNet-18 for 32 pixels; the same weights at each call."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=_CLASSES)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


class Side(ABC):
    """A network and how it is trained.

    Attributes:
        name: Printed.
    """

    name: str

    def __init__(self, options: argparse.Namespace, *, channels_last: bool) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = resnet18().to(options.device).to(memory_format=layout)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )
        self.reduced: Callable[[], Any] = contextlib.nullcontext
        if options.precision != "float32":
            self.reduced = lambda: torch.autocast(options.device, _DTYPES[options.precision])

    @abstractmethod
    def craft(self, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images of the network as it is."""

    def standard(self, images: Tensor, labels: Tensor) -> None:
        """One step on these images."""
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self.reduced():
            loss = F.cross_entropy(self.net(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def adversarial(self, images: Tensor, labels: Tensor) -> None:
        """One step on adversarial images."""
        with self.reduced():
            crafted = self.craft(images, labels)
        self.standard(crafted, labels)


class Peer(Side):
    """As published."""

    name = "torchattacks"

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options, channels_last=options.peer_channels_last)
        module: Any = importlib.import_module("torchattacks")
        self.attack = module.PGD(self.net, eps=_EPS, alpha=_STEP, steps=_STEPS, random_start=True)

    def craft(self, images: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = self.attack(images, labels)
        return found


class Fixed:
    """The same batch in every step: `TrainingData` without decoding and augmentation."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        ids = torch.arange(len(images))
        self.batch = TrainingBatch.of(images, labels, ids, classes=_CLASSES)

    def __len__(self) -> int:
        return len(self.batch) * _ENDLESS

    def steps(self, batch_size: int) -> int:
        """Batches an epoch."""
        return _ENDLESS

    def batches(self, epoch: int, **settings: int) -> Iterator[TrainingBatch]:
        """Batches of an epoch."""
        return itertools.repeat(self.batch)


class Ours(Side):
    """The training loop of holdfast, all that it does in a step included."""

    name = "ours"
    attack_text = f"pgd(norm=linf, eps=8/255, steps={_STEPS}, step_size=2/255)"

    def __init__(self, options: argparse.Namespace, images: Tensor, labels: Tensor) -> None:
        super().__init__(options, channels_last=False)  # the loop sees to it
        self.attack = PGD(eps=_EPS, step_size=_STEP, steps=_STEPS)
        self.classifier = self._classifier(self.net, options)
        objectives = {"adversarial": f"adversarial(attack={self.attack_text})"}
        objectives["standard"] = "cross_entropy"
        data: Any = Fixed(images, labels)
        self._steps = {
            kind: Trainer(
                self._recipe(text, options),
                self._classifier(copy.deepcopy(self.net), options),
                data,
            ).run()
            for kind, text in objectives.items()
        }

    def _classifier(self, net: torch.nn.Module, options: argparse.Namespace) -> Classifier:
        card = Card(name="resnet18", preprocessing=Preprocessing(), identity="resnet18")
        return Classifier(net, card, device=options.device)

    def _recipe(self, objective: str, options: argparse.Namespace) -> Recipe:
        return recipe_of(
            {
                "data": {"name": "fixed", "validation": None},
                "model": {"name": "resnet18"},
                "train": {
                    "objective": objective,
                    "batch_size": options.batch,
                    "precision": options.precision,
                },
                "optimizer": {
                    "kind": "sgd",
                    "lr": 0.01,
                    "momentum": 0.9,
                    "weight_decay": 5e-4,
                    "decay_all": True,
                },
                "schedule": {"kind": "constant"},
            }
        )

    def craft(self, images: Tensor, labels: Tensor) -> Tensor:
        keys = keys_for(torch.arange(len(images)), seed=1, stream="training")
        twin = CraftingCopy(self.classifier)
        return worst_images(self.attack, twin, images, labels, keys.to(images.device))

    def standard(self, images: Tensor, labels: Tensor) -> None:
        next(self._steps["standard"])

    def adversarial(self, images: Tensor, labels: Tensor) -> None:
        next(self._steps["adversarial"])


def seconds(call: Callable[[], None], options: argparse.Namespace) -> float:
    """Time of some steps."""
    clock = time.process_time if options.processor_time else time.perf_counter
    started = clock()
    for _ in range(options.steps):
        call()
    if options.device == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def compare(kind: str, sides: list[Side], batch: tuple[Tensor, Tensor], options: Any) -> None:
    """Print images a second of both sides, and the ratio with its spread."""
    calls = [lambda side=side: getattr(side, kind)(*batch) for side in sides]
    for call in calls:
        seconds(call, options)  # first calls make room in memory, and choose algorithms
    # Who begins changes from round to round.
    taken: list[dict[int, float]] = []
    for number in range(options.rounds):
        order = (0, 1) if number % 2 else (1, 0)
        taken.append({place: seconds(calls[place], options) for place in order})
    count = len(batch[1]) * options.steps
    for place, side in enumerate(sides):
        rates = [count / row[place] for row in taken]
        print(f"{kind} | {side.name} | {statistics.median(rates):.1f} images/s", flush=True)
    ratios = [row[0] / row[1] for row in taken]
    print(
        f"{kind} | ours / peer | {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f} in {options.rounds} rounds)",
        flush=True,
    )


def show_strength(sides: list[Side], batch: tuple[Tensor, Tensor]) -> None:
    """Print the loss of both sides' adversarial images on the peer's network."""
    net = sides[0].net.eval()
    images, labels = batch
    with torch.no_grad():
        told = [f"clean {float(F.cross_entropy(net(images), labels)):.4f}"]
    for side in sides:
        crafted = side.craft(images, labels)
        with torch.no_grad():
            told.append(f"{side.name} {float(F.cross_entropy(net(crafted), labels)):.4f}")
    print(f"loss at equal weights: {', '.join(told)}")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="of training, each round and side")
    parser.add_argument("--precision", default="float32", choices=_DTYPES)
    parser.add_argument("--only", choices=_KINDS)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--peer-channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peer is not None:
        sys.path.insert(0, str(options.peer))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(options.batch, 3, 32, 32, generator=generator).to(options.device)
    labels = torch.arange(options.batch, device=options.device) % _CLASSES
    sides: list[Side] = [Peer(options), Ours(options, images, labels)]
    print(
        f"{options.device}, {options.precision}, batch {options.batch}, {options.threads} "
        f"thread(s), torch {torch.__version__}"
    )
    show_strength(sides, (images, labels))
    for kind in [options.only] if options.only else _KINDS:
        compare(kind, sides, (images, labels), options)


if __name__ == "__main__":
    main()
