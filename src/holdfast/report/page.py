"""One page that answers, and opens from disk: nothing in it is fetched from a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

import holdfast
from holdfast.core.errors import StoreError
from holdfast.records import Store
from holdfast.report import numbers
from holdfast.report.blocks import Content
from holdfast.report.evidence import Evidence, require_runs
from holdfast.report.rendering import asset, environment, plotly, write_text
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
        write_text(page, text)
        table = summary(evidence.measurements, baseline=baseline)
        write_text(page.with_name("summary.csv"), _csv(table))
        write_text(page.with_name("measurements.csv"), _csv(evidence.measurements))
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
    template = environment().get_template("page.html")
    return template.render(
        title=title,
        subtitle=_subtitle(evidence),
        sections=sections,
        version=holdfast.__version__,
        style=asset("style.css"),
        plotly=plotly(),
        figure_script=asset("figures.js"),
        table_script=asset("tables.js"),
    )


def _subtitle(evidence: Evidence) -> str:
    models = numbers.counted(len({s.model for s in evidence.subjects}), "model")
    data = sorted({subject.data for subject in evidence.subjects})
    where = numbers.listing(data) if len(data) <= 3 else numbers.counted(len(data), "data set")
    runs = evidence.measurements["run_id"].n_unique()
    failed = len(evidence.failures)
    told = f", {numbers.count(failed)} of which failed" if failed else ""
    return f"{numbers.sentence(models)} on {where}; {numbers.counted(runs, 'run')}{told}."


def _csv(table: pl.DataFrame) -> str:
    """Comma-separated text; lists are joined with semicolons, what is missing is empty."""
    lists = [name for name, kind in table.schema.items() if kind == pl.List(pl.String)]
    return table.with_columns(pl.col(name).list.join(";") for name in lists).write_csv()
