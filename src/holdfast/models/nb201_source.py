"""Networks of NAS-Bench-201 by their cell: `nb201:CELL`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.core.specs import build as build_part
from holdfast.core.specs import canonical, parse_spec
from holdfast.models.loading import UNTRAINED, Built, Request, build_and_load
from holdfast.models.nb201 import build_nb201, format_cell, parse_cell
from holdfast.models.preprocessing import Preprocessing

_CLASSES = 10  # where neither the request nor a file says
_NAME = "nb201"


@dataclass(frozen=True)
class _Sizes:
    channels: int = 16
    cells: int = 5
    in_channels: int = 3


def names() -> list[str]:
    """None: there are 15,625 cells, which `holdfast list spaces` tells of."""
    return []


def notes() -> list[tuple[str, str]]:
    """The form of a name, with what it is."""
    cell = format_cell(("nor_conv_3x3",) * 6)
    return [("CELL", f"network of NAS-Bench-201, such as {_NAME}:{cell}(channels=16, cells=5)")]


def knows(name: str) -> bool:
    """Whether `name` is a cell."""
    try:
        parse_cell(name.partition("(")[0])
    except BadValueError:
        return False
    return True


def build(request: Request) -> Built:
    """Build `nb201:CELL` or `nb201:CELL(channels=16, cells=5, in_channels=3)`.

    Untrained unless a file is given. The network takes pixels in [0, 1] as they are; weights that
    were trained on normalized ones, as those of the benchmark, need a `Preprocessing` besides.
    Fresh weights are keyed by cell and sizes, however they are written.

    Raises:
        UnknownNameError: No such setting.
        BadValueError: No such cell or size, or weights that do not fit.
    """
    text, bracket, rest = request.name.partition("(")
    cell = format_cell(parse_cell(text))
    spec = parse_spec(f"{_NAME}{bracket}{rest}")
    sizes = build_part("network of", _NAME, _Sizes, dict(spec.arguments))

    def make(classes: int | None) -> nn.Module:
        return build_nb201(
            cell,
            channels=sizes.channels,
            cells=sizes.cells,
            classes=_CLASSES if classes is None else classes,
            in_channels=sizes.in_channels,
        )

    identity = f"{_NAME}:{cell}{canonical(_NAME, sizes).removeprefix(_NAME)}"
    preprocessing = Preprocessing(channels=sizes.in_channels)
    net, fresh = build_and_load(make, replace(request, spec=identity))
    return Built(
        net=net.eval(),
        preprocessing=preprocessing,
        identity=identity,
        fresh_keys=fresh,
        flags=UNTRAINED if request.weights is None else frozenset(),
    )
