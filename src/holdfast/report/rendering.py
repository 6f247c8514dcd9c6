"""Templates, scripts and styles of every page, and files written whole."""

from __future__ import annotations

import re
import uuid
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs


@cache
def environment() -> jinja2.Environment:
    """Templates of this package; text is escaped, and a name that is missing is an error."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("holdfast.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    found.filters["breakable"] = _breakable
    return found


def _breakable(text: str) -> Markup:
    """Escape `text` and let long names, but not numbers, break after their punctuation."""
    escaped = str(escape(text))
    return Markup(re.sub(r"(?<=[_:/.])(?!(?<=\d[/.])\d)(?=\w)", "<wbr>", escaped))  # noqa: S704 - escaped above


def asset(name: str) -> Markup:
    """Style or script of ours, to be written as it is."""
    text = resources.files("holdfast.report").joinpath("templates", name).read_text("utf-8")
    return Markup(text)  # noqa: S704 - our own file


@cache
def plotly() -> Markup:
    """Plotly's script, to be written into a page."""
    return Markup(get_plotlyjs())  # noqa: S704 - the library as it is shipped


def write_text(path: Path, text: str) -> None:
    """Write beside `path` and rename: a reader sees the whole file or none."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
