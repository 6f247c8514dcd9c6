"""Walks of the Square attack whose every step a test can see."""

from __future__ import annotations

import pytest
import torch
from attacks.crowd import task_for
from torch import nn

from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.base import Answer

EPS = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}
SMALL = {"linf": 0.01, "l2": 0.05, "l1": 0.5}  # the box stays out of reach of mid gray
CPU = torch.device("cpu")
each_norm = pytest.mark.parametrize("norm", BALLS)
each_windowed = pytest.mark.parametrize("norm", ["l2", "l1"])


class Linear(nn.Module):
    """Logits (s, -s), s = w (image - 1/2) + b: mid gray has the margin 2 b, of class 0."""

    def __init__(self, shape, bias=1.0):
        super().__init__()
        down = torch.linspace(-1, 1, shape[1])[:, None] + 0.3
        self.weight = 1 + 0.5 * down.expand(shape)
        self.bias = bias

    def forward(self, images):
        score = ((images - 0.5) * self.weight).flatten(1).sum(1) + self.bias
        return torch.stack([score, -score], 1)


def gray(shape=(3, 12, 12), count=4):
    return torch.full((count, *shape), 0.5)


def told(attack, state, logits):
    """Answer the last question with these logits."""
    none = torch.zeros(len(logits), 0)
    return attack.tell(state, Answer(logits, none, none.view(len(logits), 0, 1, 1, 1)))


def at_queries(attack, task, queries):
    """Lanes that stand at their start, but have asked so often."""
    state = told(attack, attack.start(task), task.logits)
    state.query = queries.clone()
    return state


def search(attack, classifier, images, labels, turns, seed=0):
    """Images asked for by lanes that never leave, [turns, L, C, H, W], and the last state."""
    state = attack.start(task_for(images, classifier, labels=labels, seed=seed))
    asked = []
    for _ in range(turns):
        asked.append(attack.ask(state).images.clone())
        state = told(attack, state, classifier(asked[-1]))
    return torch.stack(asked), state
