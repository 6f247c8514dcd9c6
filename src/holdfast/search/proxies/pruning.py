"""Which operations of a supernet are missed least: TE-NAS' pruning by importance.

Source: Chen et al. 2021, "TE-NAS", algorithm 1, and its code: each round, for every operation
left, how far the condition number of the tangent kernel and the number of linear regions move
when it is taken away, relative to the whole; both are ranked, ties sharing a rank, and each edge
loses the operation of the least sum. `none` is taken away before the first round, as there.
Differs: the kernel is that of `ntk` (statistics of normalization held fixed, all parameters);
the supernet of a repeat has the same weights in all of a round's comparisons.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.models.nb201 import EDGES
from holdfast.search.proxies._features import tangent_gram
from holdfast.search.proxies._networks import calibrate, normalize_by_batch, standardized
from holdfast.search.proxies.activations import count_regions, random_crops
from holdfast.search.proxies.ntk import condition
from holdfast.search.proxies.sampling import open_batch
from holdfast.search.proxies.supernet import Left, MixedCell, draw_weights, leave, supernet

_SIDE = 3  # pixels of a crop, as published
_NOISE = "noise"
_CLASSES = 10
_FAR = 1e6  # a change beyond all others
Place = tuple[int, str]  # edge, operation
Measured = Callable[[Left], float]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a supernet is looked at.

    Attributes:
        images: Standardized float32 [N, 3, H, W].
        repeats: Draws of the weights; the mean is taken.
        batch: Images of the kernel.
        crops: Of the count of linear regions.
        channels: Of the supernet's first stage, of which the kernel is taken.
        precision: Decimals of the relative changes that are compared.
    """

    images: Tensor
    repeats: int = 3
    batch: int = 32
    crops: int = 1000
    channels: int = 3
    precision: int = 3


def prune(choices: Sequence[str], how: Measure, generator: torch.Generator) -> list[list[str]]:
    """Cells that are left, best first, six operations each in the order of `EDGES`.

    The first is the pruned one; the others keep, on some edges, the operation that the last
    round took away, in the order of what that costs in rank.

    Args:
        choices: Operations that an edge may carry.
        how: How it is looked at.
        generator: Of weights and crops.
    """
    usable = tuple(name for name in choices if name != "none") or tuple(choices)
    left: Left = (usable,) * len(EDGES)
    ranks = dict.fromkeys(_places(left), 0)
    while max(map(len, left)) > 2:
        ranks = _round(left, how, generator)
        left = tuple(_without_least(edge, names, ranks) for edge, names in enumerate(left))
    if max(map(len, left)) == 2:
        ranks = _round(left, how, generator)
    return _ordered(left, ranks)


def _places(left: Left) -> list[Place]:
    return [(edge, name) for edge, names in enumerate(left) for name in names]


def _without_least(edge: int, names: tuple[str, ...], ranks: dict[Place, int]) -> tuple[str, ...]:
    least = min(names, key=lambda name: ranks[edge, name])
    return tuple(name for name in names if name != least)


def _ordered(left: Left, ranks: dict[Place, int]) -> list[list[str]]:
    """All cells of what is left, those first whose operations would be missed most."""
    cells = [list(cell) for cell in itertools.product(*left)]
    return sorted(cells, key=lambda cell: -sum(ranks[place] for place in enumerate(cell)))


def _round(left: Left, how: Measure, generator: torch.Generator) -> dict[Place, int]:
    """Summed rank of each operation; the least one is missed least."""
    places = _places(left)
    kernels, regions = np.zeros(len(places)), np.zeros(len(places))
    for _ in range(how.repeats):
        kernels += _changes(left, places, _condition_of(left, how, generator), how.precision)
        regions += _changes(left, places, _regions_of(left, how, generator), how.precision)
    # Wanted gone: what raises the condition number, and what merges linear regions.
    summed = summed_ranks([-kernels, regions])
    return dict(zip(places, summed, strict=True))


def _changes(left: Left, places: list[Place], measured: Measured, precision: int) -> np.ndarray:
    """(whole - without) / whole of each operation, rounded."""
    whole = measured(left)
    found = []
    for edge, name in places:
        rest = tuple(other for other in left[edge] if other != name)
        value = measured((*left[:edge], rest, *left[edge + 1 :]))
        found.append(round(_relative(whole, value), precision))
    return np.array(found)


def _condition_of(left: Left, how: Measure, generator: torch.Generator) -> Measured:
    """Condition number of the tangent kernel of supernets of one draw of weights."""
    batch = how.images[torch.randperm(len(how.images), generator=generator)[: how.batch]]
    network = supernet(left, channels=how.channels, cells=1, classes=_CLASSES)
    draw_weights(network, generator, fan="out")
    readout = torch.full((1, _CLASSES), _CLASSES**-0.5)

    def measured(wanted: Left) -> float:
        leave(network, wanted)
        gram = tangent_gram(calibrate(network, batch), batch, readout)
        return condition(torch.linalg.eigvalsh(gram))

    return measured


def _regions_of(left: Left, how: Measure, generator: torch.Generator) -> Measured:
    """Linear regions of one cell of one channel, of one draw of weights."""
    crops = random_crops(how.images, how.crops, _SIDE, generator)
    channel = torch.randint(crops.shape[1], (how.crops,), generator=generator)
    gray = crops[torch.arange(how.crops), channel][:, None]
    with torch.random.fork_rng(devices=[]):  # torch draws weights as it builds
        network = MixedCell(left, 1)
    draw_weights(network, generator, fan="in")

    def measured(wanted: Left) -> float:
        leave(network, wanted)
        return _regions(network, gray)

    return measured


def _regions(network: nn.Module, images: Tensor) -> float:
    units = [module for module in network.modules() if isinstance(module, MixedCell)]
    names = {name for cell in units for edge in cell.left for name in edge}
    if not any(name.startswith("nor_conv") for name in names):
        return 1.0  # no ReLU is left: all is linear
    return float(count_regions(normalize_by_batch(network), images))


def _relative(whole: float, without: float) -> float:
    """Relative change; an operation without which there is no value is the last to go."""
    if not math.isfinite(without):
        return -_FAR
    return (whole - without) / whole if math.isfinite(whole) else _FAR


def summed_ranks(keys: Sequence[np.ndarray]) -> list[int]:
    """Sum over keys of each item's rank, from 0, ascending; equal values share a rank.

    Also how TE-NAS' measures rank candidates: keys are condition numbers, and regions negated.
    """
    ranks = [np.unique(key, return_inverse=True)[1] for key in keys]
    return [int(total) for total in np.sum(ranks, axis=0)]


def images_for(data: str, count: int, generator: torch.Generator) -> Tensor:
    """Standardized images float32 [count, 3, H, W].

    Args:
        data: A data set, of which training images are drawn as for proxies; or `noise`, from
            N(0, 1), of 32 x 32 pixels.
        count: Images.
        generator: Decides which images, or the noise.

    Raises:
        UnknownNameError: No such data set.
        BadValueError: Fewer images than asked for, one that cannot be read, or several sizes.
    """
    if data == _NOISE:
        return torch.randn((count, 3, 32, 32), generator=generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    batch, _ = open_batch(data, count=count, seed=seed, device="cpu")
    return standardized(batch.images)
