"""One page that answers, and opens from disk: nothing in it is fetched from a network."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
import polars as pl
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

import holdfast
from holdfast.core.errors import StoreError
from holdfast.records import Store
from holdfast.report import numbers
from holdfast.report.blocks import Content
from holdfast.report.evidence import Evidence, require_runs
from holdfast.report.sections import ordered_sections
from holdfast.report.tables import check_baseline, summary

TITLE = "How well do these models hold?"


@dataclass(frozen=True)
class BuiltSection:
    """A section with its content, as the template wants it."""

    name: str
    title: str
    content: Content


def build_page(store: Store, out: Path, *, title: str = TITLE, baseline: str | None = None) -> Path:
    """Write `out/index.html`, `out/summary.csv` and `out/measurements.csv`.

    Each file is replaced whole. The page needs no network: scripts and styles are inside, and its
    content security policy forbids requests.

    Args:
        store: Where the runs are.
        out: Folder to write to; made when it is not there.
        title: Title of the page.
        baseline: Whose errors the mean corruption error is divided by: "alexnet" (published, for
            ImageNet) or a model of the store; None leaves it out.

    Returns:
        Path of the page.

    Raises:
        StoreError: The store holds no run or cannot be read, or `out` cannot be written.
        UnknownNameError: Nobody knows the baseline.
        BadValueError: The baseline lacks some of the 75 conditions.
    """
    evidence = Evidence(store, baseline)
    require_runs(evidence)
    check_baseline(evidence.subjects, baseline)
    page = Path(out) / "index.html"
    text = _render(evidence, title)
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        _write(page, text)
        table = summary(evidence.measurements, baseline=baseline)
        _write(page.with_name("summary.csv"), _csv(table))
        _write(page.with_name("measurements.csv"), _csv(evidence.measurements))
    except OSError as error:
        raise StoreError(
            f"cannot write the report to {out}: {error.strerror or error}; name another folder"
        ) from error
    return page


def _render(evidence: Evidence, title: str) -> str:
    contents = [(section, section.build(evidence)) for section in ordered_sections()]
    sections = [
        BuiltSection(section.name, section.title, content)
        for section, content in contents
        if content is not None
    ]
    sections.sort(key=lambda built: not built.content.measured)
    environment = _environment()
    return environment.get_template("page.html").render(
        title=title,
        subtitle=_subtitle(evidence),
        sections=sections,
        version=holdfast.__version__,
        style=_asset("style.css"),
        plotly=_plotly(),
        figure_script=_asset("figures.js"),
        table_script=_asset("tables.js"),
    )


def _subtitle(evidence: Evidence) -> str:
    models = numbers.counted(len({s.model for s in evidence.subjects}), "model")
    data = sorted({subject.data for subject in evidence.subjects})
    where = numbers.listing(data) if len(data) <= 3 else numbers.counted(len(data), "data set")
    runs = evidence.measurements["run_id"].n_unique()
    failed = len(evidence.failures)
    told = f", {numbers.count(failed)} of which failed" if failed else ""
    return f"{numbers.sentence(models)} on {where}; {numbers.counted(runs, 'run')}{told}."


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("holdfast.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: str) -> Markup:
    """Escape `text` and let long names, but not numbers, break after their punctuation."""
    escaped = str(escape(text))
    return Markup(re.sub(r"(?<=[_:/.])(?!(?<=\d[/.])\d)(?=\w)", "<wbr>", escaped))  # noqa: S704 - escaped above


def _asset(name: str) -> Markup:
    """Style or script of ours, to be written as it is."""
    text = resources.files("holdfast.report").joinpath("templates", name).read_text("utf-8")
    return Markup(text)  # noqa: S704 - our own file


@cache
def _plotly() -> Markup:
    return Markup(get_plotlyjs())  # noqa: S704 - the library as it is shipped


def _csv(table: pl.DataFrame) -> str:
    """Comma-separated text; lists are joined with semicolons, what is missing is empty."""
    lists = [name for name, kind in table.schema.items() if kind == pl.List(pl.String)]
    return table.with_columns(pl.col(name).list.join(";") for name in lists).write_csv()


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
