"""Small networks that tests of surgery change."""

from __future__ import annotations

import torch
from torch import nn

from holdfast.models import Preprocessing, load_model
from holdfast.models.surgery import parse_changes


class Net(nn.Module):
    """A stem, a max pool, a strided convolution, and a head."""

    def __init__(self, kernel=3, stride=2, padding=1, pool=None):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, kernel, stride, padding)
        self.pool = nn.MaxPool2d(**({"kernel_size": 3, "stride": 2, "padding": 1} | (pool or {})))
        self.down = nn.Conv2d(8, 8, 3, 2, 1)
        self.short = nn.Conv2d(8, 8, 1, 2)
        self.head = nn.Linear(8, 5)
        self.input_size = (48, 48)

    def features(self, x):
        x = self.pool(self.stem(x).relu())
        return self.down(x) + self.short(x)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def classifier(net=None, **settings):
    torch.manual_seed(0)
    known = {"input_size": (48, 48), "mean": (0.48, 0.45, 0.4), "std": (0.23, 0.22, 0.21)}
    wanted = Preprocessing(**(known | settings))
    return load_model(Net() if net is None else net, preprocessing=wanted)


def make(text, found):
    return parse_changes([text])[0].change(found)


def logits(found, images):
    with torch.no_grad():
        return found(images)


def pictures(count=3, side=48):
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, 3, side, side, generator=generator)


def named(name):
    return load_model(name, pretrained=False, device="cpu")
