"""Drives many lanes of an attack at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from attacks.naive import answer
from torch import Tensor, nn

from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks.base import UNTARGETED, Answer, Attack, Query, State, Task

MOST_TURNS = 1000


class Curved(nn.Module):
    """Two fixed random layers; big enough steps change its predictions."""

    def __init__(self, shape, classes, seed=0):
        super().__init__()
        numbers = torch.Generator().manual_seed(seed)
        count = shape[0] * shape[1] * shape[2]
        self.inner = torch.randn(count, 16, generator=numbers) * 3 / count**0.5
        self.outer = torch.randn(16, classes, generator=numbers)

    def forward(self, images):
        return ((images.flatten(1) - 0.5) @ self.inner).tanh() @ self.outer


class Constant(nn.Module):
    """Equal logits and zero gradients."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, images):
        return (images.flatten(1).sum(1, keepdim=True) * 0).expand(-1, self.classes)


class OneByOne(nn.Module):
    """Shows each image alone to a classifier: then the size of the batch moves no bit of it."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images):
        return torch.cat([self.classifier(image) for image in images.split(1)])


@dataclass
class Record:
    """What one lane went through."""

    images: list[Tensor] = field(default_factory=list)  # asked for, [C, H, W]
    wanted: list[bool] = field(default_factory=list)  # whether with gradient

    @property
    def budget(self):
        return len(self.images), sum(self.wanted)


@dataclass
class Crowd:
    """Lanes under one attack; a lane keeps its number wherever it stands."""

    attack: Attack
    classifier: Callable[[Tensor], Tensor]
    state: State | None = None
    numbers: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    records: dict[int, Record] = field(default_factory=dict)

    def join(self, task: Task, numbers: Tensor) -> None:
        """Add fresh lanes."""
        fresh = self.attack.start(task)
        self.state = fresh if self.state is None else type(fresh).concat([self.state, fresh])
        self.numbers = torch.cat([self.numbers, numbers])
        self.records.update({number: Record() for number in numbers.tolist()})

    def shuffle(self, order: Tensor) -> None:
        """Put the lanes in another order, in two parts that are joined again."""
        half = len(order) // 2
        parts = [self.state.take(order[:half]), self.state.take(order[half:])]
        self.state = type(self.state).concat(parts)
        self.numbers = self.numbers[order]

    def turn(self) -> None:
        """Ask and tell once; lanes that are finished leave."""
        query = self.attack.ask(self.state)
        for row, number in enumerate(self.numbers.tolist()):
            self.records[number].images.append(query.images[row].clone())
            self.records[number].wanted.append(bool(query.gradient[row]))
        self.state = self.attack.tell(self.state, self._answer(query))
        going = ~self.attack.finished(self.state)
        self.state, self.numbers = self.state.take(going), self.numbers[going]

    def run(self, turns: int = MOST_TURNS) -> dict[int, Record]:
        """Take some turns, or go on until all lanes are finished."""
        for _ in range(turns):
            if not len(self.numbers):
                break
            self.turn()
        else:
            assert turns < MOST_TURNS, "the attack does not end"
        return self.records

    def _answer(self, query: Query) -> Answer:
        reply = answer(self.attack, self.state, self.classifier, query)
        if not reply.scores.shape[1]:
            return replace(reply, gradients=query.images.new_zeros(len(query.images), 0, 1, 1, 1))
        wanted = query.gradient[:, None]
        gradients = reply.gradients * wanted[:, :, None, None, None]
        return replace(reply, scores=reply.scores * wanted, gradients=gradients)


def images_of(shape, count, seed=0):
    """Images with pixels at both ends of the range among them, float32 [B, C, H, W]."""
    numbers = torch.Generator().manual_seed(seed)
    return (torch.rand(count, *shape, generator=numbers) * 1.2 - 0.1).clamp(0, 1)


def task_for(images, classifier, *, target=UNTARGETED, seed=0, lane=0, labels=None) -> Task:
    """Fresh lanes; labels are what the classifier says, unless given."""
    with torch.no_grad():
        logits = torch.cat([classifier(image[None]) for image in images])
    ids = torch.arange(len(images))
    lanes = torch.full_like(ids, lane)
    return Task(
        images,
        logits.argmax(1) if labels is None else labels,
        torch.full_like(ids, target),
        logits,
        lanes,
        keys_for(ids, seed=seed, stream="test").at(lanes),
    )


def part_of(task: Task, rows: Tensor) -> Task:
    """Some lanes of a task."""
    return Task(
        task.images[rows],
        task.labels[rows],
        task.targets[rows],
        task.logits[rows],
        task.lane[rows],
        task.keys.take(rows),
    )
