"""Networks of NAS-Bench-201 by their cell: `nb201:CELL` or `nb201:CELL(channels=8, cells=1)`."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.errors import BadValueError
from holdfast.core.specs import build as build_part
from holdfast.core.specs import canonical, parse_spec
from holdfast.models.loading import Built, Request, build_and_load
from holdfast.models.nb201 import build_nb201, format_cell, parse_cell
from holdfast.models.preprocessing import Preprocessing

_CLASSES = 10  # where neither the request nor a file says


@dataclass(frozen=True)
class NB201Settings:
    """What may stand between parentheses after the cell; see `build_nb201`."""

    channels: int = 16
    cells: int = 5
    in_channels: int = 3

    def __post_init__(self) -> None:
        if self.in_channels not in (1, 3):
            raise BadValueError(f"in_channels must be 1 or 3, got {self.in_channels}")


def names() -> list[str]:
    """None by name: 15,625 cells are written out, not chosen from a list."""
    return []


def notes() -> list[tuple[str, str]]:
    """How a network is named."""
    return [("CELL", "network of a NAS-Bench-201 cell, |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")]


def knows(name: str) -> bool:
    """Whether the text is a cell, with or without settings."""
    try:
        parse_cell(name.partition("(")[0])
    except BadValueError:
        return False
    return True


def build(request: Request) -> Built:
    """Build the network of a cell; untrained unless a file is given.

    Raises:
        UnknownNameError: No such setting.
        BadValueError: No such cell, or weights that do not fit.
    """
    text, bracket, rest = request.name.partition("(")
    operations = parse_cell(text)
    arguments = dict(parse_spec(f"nb201({rest}").arguments) if bracket else {}
    settings = build_part("NAS-Bench-201 network", "nb201", NB201Settings, arguments)
    arch = format_cell(operations)
    net, fresh = build_and_load(
        lambda count: build_nb201(
            arch,
            channels=settings.channels,
            cells=settings.cells,
            classes=count or _CLASSES,
            in_channels=settings.in_channels,
        ),
        request,
    )
    return Built(
        net=net.eval(),
        preprocessing=Preprocessing(channels=settings.in_channels),
        identity=f"nb201:{arch} {canonical('nb201', settings)}",
        fresh_keys=fresh,
        flags=frozenset({"untrained"}) if request.weights is None else frozenset(),
    )
