"""The numbers of a stack of networks: trained, and measured under every condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.perturb.attacks.base import Attack
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.conditions import parse_conditions
from holdfast.search.making.attacking import standing
from holdfast.search.making.inputs import corrupted, digits, pooled
from holdfast.search.making.stack import Cell, Prepared, Size, Stack
from holdfast.search.making.training import Recipe, train

SPLITS = ("validation", "test")
_CHUNK = 128  # images at a time: a stack's features stay in the cache
# Digits are nearly black and white, so radii are those of MNIST and not of photographs.
_SIZE = Size(channels=4)
_RADII = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Setting:
    """Everything that decides the numbers of a network, but its cell and seed.

    Attributes:
        size: Of the networks.
        recipes: By what the table calls the training.
        conditions: Clean and corruptions.
        attacks: At one radius each.
        draws: Seed of corruptions and attacks, the same for all networks.
    """

    size: Size = _SIZE
    recipes: tuple[tuple[str, Recipe], ...] = (
        ("plain", Recipe(epochs=12, learning_rate=8e-3)),
        ("adversarial", Recipe(epochs=16, learning_rate=8e-3, eps=0.15, steps=3)),
    )
    conditions: tuple[str, ...] = ("noise-sweep", "corruptions")
    attacks: tuple[str, ...] = (
        *(f"fgsm(norm=linf, eps={eps})" for eps in _RADII),
        *(f"pgd(norm=linf, eps={eps}, steps=20)" for eps in _RADII),
    )
    draws: int = 0


@dataclass(frozen=True)
class Split:
    """Images of a split under every condition, as the networks see them."""

    name: str
    labels: Tensor  # int64 [N]
    clean: Tensor  # [N, side, side]
    seen: Mapping[str, Tensor]  # by condition


class Laboratory:
    """Training images, and both measured splits under all conditions, made once."""

    def __init__(self, setting: Setting, tell: Callable[[str], None] = lambda text: None) -> None:
        self.setting = setting
        images, self.labels = digits("train")
        self.images = pooled(images)
        self.splits = []
        for name in SPLITS:
            tell(f"corrupting the {name} split")
            images, labels = digits(name)
            conditions = parse_conditions(setting.conditions)
            seen = dict(corrupted(images, conditions, seed=setting.draws))
            self.splits.append(Split(name, labels, pooled(images), seen))
        self.attacks = {text: _attack(text) for text in setting.attacks}

    def rows(self, cells: Mapping[str, Cell], *, seed: int) -> Iterator[dict[str, object]]:
        """Train the cells by each recipe and yield one row a number, as the table has them."""
        for training, recipe in self.setting.recipes:
            stack = Stack(list(cells.values()), self.setting.size, seed=seed)
            for _ in train(stack, self.images, self.labels, recipe, seed=seed):
                pass
            nets = stack.prepared(training=False)
            for split in self.splits:
                for condition, accuracies in self.measured(nets, split):
                    for arch, accuracy in zip(cells, accuracies.tolist(), strict=True):
                        yield {
                            "arch": arch,
                            "split": split.name,
                            "training": training,
                            "epochs": recipe.epochs,
                            "condition": condition,
                            "metric": "accuracy",
                            "seed": seed,
                            "value": accuracy,
                        }

    def measured(self, nets: Prepared, split: Split) -> Iterator[tuple[str, Tensor]]:
        """Each condition with the accuracy of each network, float64 [G]."""
        for condition, images in split.seen.items():
            parts = torch.split(images, _CHUNK)
            given = torch.cat([nets(part[None]).argmax(2) for part in parts], 1)
            yield condition, (given == split.labels).double().mean(1)
        for condition, attack in self.attacks.items():
            stands = standing(attack, nets, split.clean, split.labels, seed=self.setting.draws)
            yield condition, stands.double().mean(1)


def _attack(text: str) -> Attack:
    """The one attack that a condition's text stands for."""
    _, run = parse_conditions(text)
    if not isinstance(run, AttackRun) or not isinstance(run.parts[0], Attack):
        raise TypeError(f"expected one attack at one radius, got {text}")
    return run.parts[0]
