"""Networks of two DARTS cells for 32 x 32 pixels (Liu et al., ICLR 2019; NAS-Bench-301)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.models._sizes import check_sizes

Pairs = Sequence[tuple[str, int]]

_STEM = 3  # the stem has this many times the channels of the first cell
_INPUTS = 2  # a cell reads the two cells before it


def _pointwise(before: int, after: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(before, after, 1, stride=stride, bias=False)


def _depthwise(width: int, size: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (size // 2)
    spread = nn.Conv2d(width, width, size, stride, padding, dilation, groups=width, bias=False)
    return [nn.ReLU(), spread, _pointwise(width, width), nn.BatchNorm2d(width)]


def _separable(size: int) -> Callable[[int, int], nn.Module]:
    return lambda width, stride: nn.Sequential(
        *_depthwise(width, size, stride), *_depthwise(width, size, 1)
    )


def _dilated(size: int) -> Callable[[int, int], nn.Module]:
    return lambda width, stride: nn.Sequential(*_depthwise(width, size, stride, dilation=2))


def _max_pool(width: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(3, stride, padding=1)


def _average_pool(width: int, stride: int) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _skip(width: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 else Halve(width, width)


_OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _average_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
}


class Halve(nn.Module):
    """Halves height and width by two strided 1 x 1 convolutions, one of them a pixel further on.

    float [B, before, H, W] to [B, after, ceil(H/2), ceil(W/2)]; the published one takes even sizes
    only and gives the same there. `after` is even.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.even = _pointwise(before, after // 2, 2)
        self.odd = _pointwise(before, after - after // 2, 2)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, images: Tensor) -> Tensor:
        positive = F.relu(images)
        shifted = F.pad(positive, (0, 1, 0, 1))[:, :, 1:, 1:]
        out: Tensor = self.norm(torch.cat((self.even(positive), self.odd(shifted)), dim=1))
        return out


class DartsCell(nn.Module):
    """Nodes that sum two chosen operations each, concatenated. Takes the two cells before."""

    def __init__(
        self, pairs: Pairs, before: tuple[int, int], width: int, *, halves: bool, follows: bool
    ) -> None:
        super().__init__()
        # After a cell that halves, the older of the two inputs is twice as large.
        older = Halve(before[0], width) if follows else _entry(before[0], width)
        self.entries = nn.ModuleList((older, _entry(before[1], width)))
        self._sources = [source for _, source in pairs]
        self.operations = nn.ModuleList(
            _OPERATIONS[name](width, 2 if halves and source < _INPUTS else 1)
            for name, source in pairs
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        states = [self.entries[0](older), self.entries[1](newer)]
        for place in range(0, len(self._sources), 2):
            first, second = (
                self.operations[k](states[self._sources[k]]) for k in (place, place + 1)
            )
            states.append(first + second)
        return torch.cat(states[_INPUTS:], dim=1)


class DartsNetwork(nn.Module):
    """Stem, cells of which those at one and two thirds halve the picture, pool, linear layer.

    Takes float [B, 3, H, W]; gives logits float [B, classes].
    """

    def __init__(self, stem: nn.Module, cells: Sequence[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.cells = nn.ModuleList(cells)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        older = newer = self.stem(images)
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
        logits: Tensor = self.head(newer.mean(dim=(2, 3)))
        return logits


def darts_network(
    normal: Pairs, reduce: Pairs, *, channels: int = 36, cells: int = 20, classes: int = 10
) -> DartsNetwork:
    """Build the CIFAR network of two cells, with fresh weights as torch draws them.

    The auxiliary head and the dropped paths of the published training are left out: neither takes
    part when a trained network is used.

    Args:
        normal: Pairs (operation, source), two for each node in order; source 0 is the cell before
            the last, 1 the last cell, 2 the first node, and so on.
        reduce: The same for the cells that halve height and width.
        channels: Of the first cells' nodes. Published: 36; NAS-Bench-301: 32.
        cells: How many. Published: 20; NAS-Bench-301: 8.
        classes: How many logits.

    Raises:
        UnknownNameError: An operation that the space does not have.
        BadValueError: A source that is not before its node, or a size below 1.
    """
    check_sizes(channels=channels, cells=cells, classes=classes)
    for pairs in (normal, reduce):
        _check(pairs)
    halving = {cells // 3, 2 * cells // 3}
    width, before, built = channels, (_STEM * channels, _STEM * channels), []
    for place in range(cells):
        width *= 2 if place in halving else 1
        pairs = reduce if place in halving else normal
        flags = {"halves": place in halving, "follows": place - 1 in halving}
        built.append(DartsCell(pairs, before, width, **flags))
        before = (before[1], width * len(pairs) // 2)
    stem = nn.Sequential(
        nn.Conv2d(3, _STEM * channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(_STEM * channels),
    )
    return DartsNetwork(stem, built, nn.Linear(before[1], classes))


def _entry(before: int, width: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(), _pointwise(before, width), nn.BatchNorm2d(width))


def _check(pairs: Pairs) -> None:
    if not pairs or len(pairs) % 2:
        raise BadValueError(f"a cell needs two (operation, source) pairs a node, got {len(pairs)}")
    for place, (name, source) in enumerate(pairs):
        if name not in _OPERATIONS:
            raise unknown_name("DARTS operation", name, _OPERATIONS)
        known = _INPUTS + place // 2
        if not 0 <= source < known:
            raise BadValueError(f"pair {place} needs a source below {known}, got {source}")
