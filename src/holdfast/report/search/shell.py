"""What both pages share: the frame around the sections, and how values are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import StoreError
from holdfast.core.version import VERSION
from holdfast.records.searches import TableInfo
from holdfast.report import numbers
from holdfast.report.blocks import Content
from holdfast.report.page import BuiltSection
from holdfast.report.rendering import asset, environment, plotly, write_text

PAGE = "page.html"
_FRACTIONS = ("accuracy", "confidence", "recall")  # metrics in [0, 1]


@dataclass(frozen=True)
class Head:
    """Top and foot of a page; `alert` is what must not be overlooked."""

    title: str
    subtitle: str
    alert: str = ""
    flags: Sequence[str] = ()
    beside: str = ""
    version: str = ""


def write_page(folder: Path, head: Head, sections: Sequence[tuple[str, str, Content]]) -> Path:
    """Write `folder/page.html` of sections (name, title, content), replaced whole.

    Raises:
        StoreError: The folder cannot be written.
    """
    template = environment().get_template("search.html")
    text = template.render(
        title=head.title,
        subtitle=head.subtitle,
        alert=head.alert,
        flags=head.flags,
        beside=head.beside,
        sections=[BuiltSection(*section) for section in sections],
        version=head.version or VERSION,
        style=asset("style.css"),
        plotly=plotly(),
        figure_script=asset("figures.js"),
        table_script=asset("tables.js"),
    )
    path = folder / PAGE
    try:
        write_text(path, text)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; copy the folder elsewhere"
        ) from error
    return path


def where_from(table: TableInfo) -> list[tuple[str, str]]:
    """Terms about a table."""
    named = table.name if not table.title else f"{table.name}: {table.title}"
    entries = [("Table", named), ("Source", table.source), ("Space", table.space)]
    return [(term, text) for term, text in entries if text]


@dataclass(frozen=True)
class Unit:
    """How values of a column are written: as percent, or as plain numbers."""

    percent: bool

    @classmethod
    def of(cls, metric: str) -> Unit:
        """Percent for accuracies, confidences and recalls; metrics are those of the tables."""
        return cls(metric.partition("(")[0] in _FRACTIONS)

    def write(self, value: float) -> str:
        """The value alone."""
        if self.percent or math.isnan(value):
            return numbers.percent(value, 2)
        return f"{value:,.5g}".replace("-", "\N{MINUS SIGN}")

    def bounds(self, low: float, high: float) -> str:
        """Its interval; empty where there is none."""
        if self.percent:  # no share lies outside; Student's t does not know
            low, high = max(0.0, low), min(1.0, high)
        if self.percent or math.isnan(low) or math.isnan(high):
            return numbers.interval(low, high, scale=100, digits=2)
        return f"[{self.write(low)},{numbers.NO_BREAK}{self.write(high)}]"
