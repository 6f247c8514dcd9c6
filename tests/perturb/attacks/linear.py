"""Linear models at mid-gray, where the size of the smallest perturbation is a formula."""

from __future__ import annotations

import torch
from torch import nn

DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}  # order of the norm that bounds a linear score
ORDER = {"linf": float("inf"), "l2": 2, "l1": 1}
# Far from the box, which is at 0.5: the largest change of a pixel is at most 0.3.
DISTANCE = {"linf": 0.1, "l2": 0.3, "l1": 0.3}
SHAPE = (3, 4, 4)


class Linear(nn.Module):
    """Logits weight (image - 1/2) + bias: the bias is what mid-gray is given."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, images):
        return (images.flatten(1) - 0.5) @ self.weight.T + self.bias


def distances(model, label, norm):
    """From mid-gray to each class's half-space, |margin| / dual norm, float64 [K]; own: inf."""
    weight, bias = model.weight.double(), model.bias.double()
    rises = torch.linalg.vector_norm(weight - weight[label], ord=DUAL[norm], dim=1)
    distance = (bias[label] - bias) / rises
    distance[label] = float("inf")
    return distance


def linear_model(norm, classes, seed):
    """A model that gives mid-gray the class 0, and whose smallest distance is `DISTANCE`."""
    numbers = torch.Generator().manual_seed(100 * classes + seed)
    weight = torch.randn(classes, 48, generator=numbers)
    bias = -1 - torch.rand(classes, generator=numbers)
    bias[0] = 0
    scale = DISTANCE[norm] / distances(Linear(weight, bias), 0, norm).min()
    return Linear(weight, bias * scale.float())


def mid_gray():
    """The image at which no box is near, [C, H, W]."""
    return torch.full(SHAPE, 0.5)


def size(delta, norm):
    """Size of a perturbation in float64, written without the package."""
    return torch.linalg.vector_norm(delta.double().flatten(), ord=ORDER[norm]).item()
