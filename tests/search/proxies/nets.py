"""Networks whose scores are known by hand."""

from __future__ import annotations

import torch
from torch import nn

from holdfast.search.proxies import Batch
from holdfast.search.spaces.base import Graph, Space


def batch_of(count=6, *, side=4, channels=3, classes=3, seed=0):
    generator = torch.Generator().manual_seed(count)
    images = torch.rand(count, channels, side, side, generator=generator)
    return Batch(images, torch.arange(count) % classes, torch.arange(count), seed)


def linear(weight):
    """Logits W x of the pixels x."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0], bias=False))
    with torch.no_grad():
        net[1].weight.copy_(weight)
    return net


def random_linear(batch, classes=3, *, seed=0):
    pixels = batch.images[0].numel()
    return linear(torch.randn(classes, pixels, generator=torch.Generator().manual_seed(seed)))


class Residual(nn.Module):
    """Convolutions of several kinds, normalization, a shared layer and a residual sum."""

    def __init__(self, *, activation=nn.ReLU, width=4, classes=3):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.grouped = nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=2, bias=False)
        self.point = nn.Conv2d(width, width, 1)
        self.act = activation()
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        first = self.act(self.norm(self.stem(images)))
        second = first + self.point(self.act(self.grouped(first)))
        third = self.point(second)  # used twice
        return self.head(third.mean((2, 3)))


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


class Toy(Space):
    """Space of two widths and one that cannot be built."""

    about = "toy"
    vocabulary = ("input", "output")
    most_nodes = 2
    spec = "toy"
    size = 3

    def check(self, arch):
        return arch

    def sample(self, rng):
        return "a"

    def neighbours(self, arch):
        return []

    def canonical(self, arch):
        return arch

    def encode(self, arch, how="one-hot"):
        raise NotImplementedError

    def graphs(self, arch):
        return (Graph(("input", "output"), ((0, 1),)),)

    def from_graphs(self, graphs):
        return "a"

    def build(self, arch, *, channels=None, cells=None, classes=10):
        if arch == "broken":
            raise RuntimeError("the moon is in the wrong phase")
        return Residual(width=2 * (channels or 2), classes=classes)
