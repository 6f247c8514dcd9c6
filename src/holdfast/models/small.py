"""Small networks for 32 x 32 pixels, trained in seconds on a laptop: `small:NAME`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.core.registry import Registry
from holdfast.core.specs import build as build_part
from holdfast.core.specs import canonical, parse_spec
from holdfast.models.loading import (
    UNTRAINED,
    Built,
    Request,
    build_and_load,
    keyed_initialization,
)
from holdfast.models.preprocessing import Preprocessing

_CLASSES = 10  # where neither the request nor a file says
_CENTER, _SPREAD = 0.5, 0.25  # of natural pixels, about; what the networks take off and divide by
_LARGEST_KERNEL = 31  # of a stem, in pixels; about what an image of 32 x 32 has
StemPool = Literal["average", "max"]


class SmallNetwork(Protocol):
    """Settings of a small architecture; a frozen dataclass."""

    @property
    def channels(self) -> int:
        """1 or 3."""
        ...

    def build(self, classes: int, init_seed: int = 0) -> nn.Module:
        """Network with fresh weights, of torch's global generator or keyed by the seed."""
        ...


SMALL: Registry[type[SmallNetwork]] = Registry("small model")


class SmallCNN(nn.Module):
    """Four convolutions with batch normalization, three scales, global average, one linear layer.

    Takes pixels [B, channels, H, W] in [0, 1] of any size from 8 x 8; gives logits [B, classes].
    """

    def __init__(self, classes: int, *, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        widths = (channels, width, 2 * width, 2 * width, 4 * width)
        strides = (1, 2, 1, 2)
        pairs = zip(widths[:-1], widths[1:], strides, strict=True)
        self.blocks = nn.Sequential(*(_block(before, after, s) for before, after, s in pairs))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        # Centered, so that the first normalization has nothing to undo; 0.25 is about the
        # deviation of natural pixels.
        features: Tensor = self.blocks((images - _CENTER) / _SPREAD)
        logits: Tensor = self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits


def _block(before: int, after: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def small_cnn(classes: int, *, width: int = 16, channels: int = 3) -> SmallCNN:
    """Build the network of the demonstration: 33,626 parameters for 10 classes.

    Fresh weights are drawn from torch's global generator; `load_model("small:cnn")` keys them.

    Raises:
        BadValueError: Fewer than two classes, or no width.
    """
    _check(classes, width, channels)
    return SmallCNN(classes, width=width, channels=channels)


def _check(classes: int, width: int, channels: int) -> None:
    if classes < 2 or width < 1 or channels not in (1, 3):
        raise BadValueError(
            "a small network needs classes >= 2, width >= 1 and 1 or 3 channels, "
            f"got classes={classes}, width={width}, channels={channels}"
        )


@SMALL.register("cnn")
@dataclass(frozen=True)
class SmallCNNSettings:
    """`small:cnn(width=16, channels=3)`."""

    width: int = 16
    channels: int = 3

    def build(self, classes: int, init_seed: int = 0) -> nn.Module:
        """Network with fresh weights; `load_model` keys the generator they come from."""
        return small_cnn(classes, width=self.width, channels=self.channels)


class StemCNN(nn.Module):
    """A stem of one convolution and one pooling, and a body that is the same for every stem.

    Takes pixels [B, channels, H, W] in [0, 1] of any size from 8 x 8; gives logits [B, classes].
    The stem is a k x k convolution of stride 1, batch normalization, ReLU and a pooling of 2 x 2
    with stride 2, so that neither its kernel nor its pooling changes any other shape.

    Attributes:
        filters: The stem's convolution.
        norm: Its normalization.
        pool: Its pooling.
        body: Three blocks of 3 x 3 convolutions.
        head: The linear layer.
    """

    def __init__(
        self, classes: int, *, kernel: int, pool: StemPool, width: int = 16, channels: int = 3
    ) -> None:
        super().__init__()
        self.filters = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(2) if pool == "average" else nn.MaxPool2d(2)
        self.body = nn.Sequential(
            _block(width, 2 * width, 1),
            _block(2 * width, 2 * width, 2),
            _block(2 * width, 4 * width, 1),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        stem: Tensor = self.filters((images - _CENTER) / _SPREAD)
        features: Tensor = self.body(self.pool(F.relu(self.norm(stem), inplace=True)))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits

    def stem_gain(self) -> Tensor:
        """Noise variance after the stem's convolution over that of the pixels, float64 [width].

        Exact for white noise: the sum of squared weights of each filter, and 1 / 0.25^2 for the
        division before it.
        """
        weight = self.filters.weight.detach().double()
        return weight.square().sum((1, 2, 3)) / _SPREAD**2

    def stem_ratio(self) -> Tensor:
        """Noise variance over signal variance after the convolution, at sigma 1, float64 [width].

        The signal's variance is the running one of the batch normalization that follows. Unlike
        the gain it does not change when a filter is scaled, which the normalization undoes.
        """
        variance = self.norm.running_var
        if variance is None:  # someone has taken the statistics away
            return torch.full_like(self.stem_gain(), math.nan)
        return self.stem_gain() / (variance.double() + self.norm.eps)


def small_stem(
    classes: int,
    *,
    kernel: int = 3,
    pool: StemPool = "average",
    width: int = 16,
    channels: int = 3,
    init_seed: int = 0,
) -> StemCNN:
    """Build the network of the causal check, its weights keyed layer by layer.

    Networks of one seed, width and number of classes start from the same body and head whatever
    their stem, and those of one kernel from the same filters whatever their pooling.

    Args:
        classes: At least two.
        kernel: Width of the stem's convolution, odd.
        pool: average or max.
        width: Filters of the stem.
        channels: 1 or 3.
        init_seed: Keys all weights.

    Raises:
        BadValueError: A setting out of its range.
    """
    if kernel % 2 == 0 or not 1 <= kernel <= _LARGEST_KERNEL:
        raise BadValueError(
            f"kernel must be an odd number from 1 to {_LARGEST_KERNEL}, such as 3, 5 or 7, "
            f"got {kernel}"
        )
    if pool not in ("average", "max"):
        raise BadValueError(f"pool must be average or max, got {pool!r}")
    _check(classes, width, channels)
    with keyed_initialization("small:stem", init_seed):  # torch draws weights as it builds
        net = StemCNN(classes, kernel=kernel, pool=pool, width=width, channels=channels)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            with keyed_initialization(f"small:stem {name}", init_seed):
                layer.reset_parameters()
    return net


@SMALL.register("stem")
@dataclass(frozen=True)
class StemSettings:
    """`small:stem(kernel=3, pool=average, width=16, channels=3)`."""

    kernel: int = 3
    pool: StemPool = "average"
    width: int = 16
    channels: int = 3

    def build(self, classes: int, init_seed: int = 0) -> nn.Module:
        """Network with fresh weights, keyed by the seed alone and not by the settings."""
        return small_stem(
            classes,
            kernel=self.kernel,
            pool=self.pool,
            width=self.width,
            channels=self.channels,
            init_seed=init_seed,
        )


def names() -> list[str]:
    """Registered small networks."""
    return list(SMALL)


def notes() -> list[tuple[str, str]]:
    """Names with what they are."""
    return [(name, str(SMALL[name].__doc__).strip()) for name in SMALL]


def knows(name: str) -> bool:
    """Whether a small network has this name."""
    return name.partition("(")[0] in SMALL


def build(request: Request) -> Built:
    """Build `small:NAME` or `small:NAME(width=32)`; untrained unless a file is given.

    Raises:
        UnknownNameError: No such network or setting.
        BadValueError: The weights do not fit.
    """
    spec = parse_spec(request.name)
    settings = build_part("small model", spec.name, SMALL[spec.name], dict(spec.arguments))
    net, fresh = build_and_load(
        lambda count: settings.build(count or _CLASSES, request.init_seed), request
    )
    return Built(
        net=net.eval(),
        preprocessing=Preprocessing(channels=settings.channels),
        identity=f"small:{canonical(spec.name, settings)}",
        fresh_keys=fresh,
        flags=UNTRAINED if request.weights is None else frozenset(),
    )
