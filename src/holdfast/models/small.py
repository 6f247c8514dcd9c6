"""Small networks for 32 x 32 pixels, trained in seconds on a laptop: `small:NAME`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.core.registry import Registry
from holdfast.core.specs import build as build_part
from holdfast.core.specs import canonical, parse_spec
from holdfast.models.loading import UNTRAINED, Built, Request, build_and_load
from holdfast.models.preprocessing import Preprocessing

_CLASSES = 10  # where neither the request nor a file says


class SmallNetwork(Protocol):
    """Settings of a small architecture; a frozen dataclass."""

    @property
    def channels(self) -> int:
        """1 or 3."""
        ...

    def build(self, classes: int) -> nn.Module:
        """Network with fresh weights."""
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
        features: Tensor = self.blocks((images - 0.5) / 0.25)
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
    if classes < 2 or width < 1 or channels not in (1, 3):
        raise BadValueError(
            "a small network needs classes >= 2, width >= 1 and 1 or 3 channels, "
            f"got classes={classes}, width={width}, channels={channels}"
        )
    return SmallCNN(classes, width=width, channels=channels)


@SMALL.register("cnn")
@dataclass(frozen=True)
class SmallCNNSettings:
    """`small:cnn(width=16, channels=3)`."""

    width: int = 16
    channels: int = 3

    def build(self, classes: int) -> nn.Module:
        """Network with fresh weights."""
        return small_cnn(classes, width=self.width, channels=self.channels)


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
    net, fresh = build_and_load(lambda count: settings.build(count or _CLASSES), request)
    return Built(
        net=net.eval(),
        preprocessing=Preprocessing(channels=settings.channels),
        identity=f"small:{canonical(spec.name, settings)}",
        fresh_keys=fresh,
        flags=UNTRAINED if request.weights is None else frozenset(),
    )
