"""What a section is made of: plain data that the page's template turns into HTML.

Text in blocks is raw; the template escapes it. Figures are the exception: plotly reads a little
markup in their text, so what a person wrote passes through `label` first.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from holdfast.report import numbers

JsonDict = dict[str, Any]
_SMALL_WIDTH = 96  # pixels, about the width of a picture on a card


@dataclass(frozen=True)
class Figure:
    """One plotly figure as plain data: traces and layout."""

    data: Sequence[JsonDict]
    layout: JsonDict


@dataclass(frozen=True)
class Option:
    """One choice of a menu and the figures that it shows, one a panel."""

    label: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Figures:
    """One figure or several panels; with more than one option a menu switches them together.

    `name` is the element's id and must be unique in the page. `about` says in words what can be
    seen, for those who cannot see it.
    """

    name: str
    about: str
    options: Sequence[Option]
    height: int = 420  # pixels, of each panel
    min_width: int = 0  # pixels; a narrower window scrolls the figure instead of squeezing it
    caption: str = ""
    kind: str = "figures"

    @property
    def panels(self) -> int:
        """How many panels each option fills."""
        return len(self.options[0].figures)

    @property
    def json(self) -> str:
        """Options as JSON that cannot end the script element it stands in."""
        body = [
            [{"data": figure.data, "layout": figure.layout} for figure in option.figures]
            for option in self.options
        ]
        text = json.dumps(_plain(body), allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True)
class Column:
    """A column of a table; `key` names it in the address `?sort=key` or `?sort=-key`."""

    key: str
    title: str
    about: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """What a cell shows, a smaller second line, and what it sorts by (None: always last).

    `about` is shown when the cell is pointed at.
    """

    text: str
    detail: str = ""
    order: float | str | None = None
    about: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; sorts by a click on a heading unless `sortable` is off."""

    name: str
    about: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True
    kind: str = "table"


@dataclass(frozen=True)
class Definitions:
    """Terms and what they mean."""

    entries: Sequence[tuple[str, str]]
    kind: str = "definitions"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Picture:
    """An image as a PNG file, and a line below it."""

    png: bytes
    about: str
    text: str

    @property
    def source(self) -> str:
        """The file as a data address, so that the page asks for nothing."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"

    @property
    def small(self) -> bool:
        """Whether it is enlarged, so that its pixels should stay sharp; read from the header."""
        return int.from_bytes(self.png[16:20], "big") <= _SMALL_WIDTH


@dataclass(frozen=True)
class Card:
    """Pictures that belong together, with a line above and one below."""

    title: str
    pictures: Sequence[Picture]
    text: str = ""


@dataclass(frozen=True)
class Gallery:
    """Cards side by side, as many as the window has room for."""

    name: str
    about: str
    cards: Sequence[Card]
    kind: str = "gallery"


@dataclass(frozen=True)
class Swatch:
    """An entry of a legend."""

    name: str
    color: str


@dataclass(frozen=True)
class DrawnCard:
    """Drawings that belong together: SVG of ours, a few terms with numbers, and a line below."""

    title: str
    drawings: Sequence[Markup]
    entries: Sequence[tuple[str, str]] = ()
    text: str = ""


@dataclass(frozen=True)
class Drawings:
    """Cards of drawings side by side, below the legend of their colors."""

    name: str
    about: str
    cards: Sequence[DrawnCard]
    legend: Sequence[Swatch] = ()
    kind: str = "drawings"


Block = Figures | Table | Definitions | Heading | Gallery | Drawings


@dataclass(frozen=True)
class Content:
    """A section: the answer in one sentence, what shows it, and how it was computed.

    One that only says what was not `measured` stands at the end of the page.
    """

    lead: str
    blocks: Sequence[Block] = ()
    note: str = ""
    measured: bool = True


def label(text: str) -> str:
    """`text` so that plotly shows it as it is."""
    return html.escape(text, quote=False)


def number_cell(value: float | None, text: str, detail: str = "") -> Cell:
    """Cell that sorts by `value`; what was not measured sorts last."""
    missing = value is None or math.isnan(value)
    return Cell(text, detail, None if missing else value)


def percent_cell(
    value: float | None, low: float | None, high: float | None, digits: int = 1
) -> Cell:
    """Cell of a fraction with its interval as the smaller line."""
    known = value is not None and not math.isnan(value)
    bounds = numbers.interval(low, high, scale=100, digits=digits) if known else ""
    return number_cell(value, numbers.percent(value, digits), bounds)


def _plain(value: Any) -> Any:
    """Numbers that JSON lacks become null, which plotly draws as a gap."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
