"""Sections of the page: what models are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    Heading,
    Option,
    Table,
    label,
    number_cell,
)
from holdfast.report.figures import PALETTE, Axis

_BARS = 12  # most frequent values of an attribute that are drawn
_FAILURES = 50
_COUNTED = {
    "kind": "What mixes positions",
    "stem": "Stem",
    "stem_pool": "Pool of the stem",
    "downsampling": "Downsampling",
    "anti_aliased": "Anti-aliased downsampling",
    "head_pool": "Pooling before the head",
    "norms": "Normalization",
    "activation": "Activation",
    "pretraining": "Pretraining",
    "pretraining_data": "Pretraining data",
}
_COLUMNS = (
    Column("model", "Model"),
    Column("family", "Family"),
    Column("kind", "Kind", "What mixes positions behind the stem."),
    Column("stem", "Stem", "Convolutions and pools from the image to the first fork."),
    Column("sees", "Stem sees", "Receptive field of the stem, pixels.", numeric=True),
    Column("down", "Downsampling", "Each reduction on the longest way."),
    Column("pool", "Head pool"),
    Column("norm", "Norm"),
    Column("depth", "Depth", "Layers with weights on the longest way.", numeric=True),
    Column("params", "Parameters", "Millions.", numeric=True),
    Column("macs", "Multiply-adds", "Billions, one image.", numeric=True),
    Column("input", "Input", "Pixels.", numeric=True),
    Column("field", "Field", "Receptive field before the head's pool, pixels.", numeric=True),
    Column("factor", "1 / min std", "By which normalization stretches pixels.", numeric=True),
    Column("pre", "Pretraining"),
    Column("data", "Data", "Of pretraining, then of fine-tuning."),
)


def sections(rows: pl.DataFrame) -> Sequence[tuple[str, str, Content]]:
    """Section of a table of anatomies; columns `ANATOMY_COLUMNS`."""
    fine = rows.filter(pl.col("status") == "ok")
    failed = rows.filter(pl.col("status") == "failed")
    blocks: list[Block] = []
    if len(fine) > 1:
        blocks.append(_counts(fine))
    if len(fine):
        about = "Every model with its design attributes; click a heading to sort."
        body = [_row(row) for row in fine.iter_rows(named=True)]
        blocks.append(Table("anatomy-table", about, _COLUMNS, body))
    if len(failed):
        blocks += [Heading("Models that could not be read"), _failures(failed)]
    lead = (
        f"{numbers.sentence(numbers.counted(len(fine), 'model'))} of "
        f"{numbers.counted(fine['family'].n_unique(), 'family', 'families')}, read from the "
        "operations that run on one image."
    )
    if len(failed):
        lead += f" {numbers.sentence(numbers.counted(len(failed), 'model'))} could not be read."
    note = "No weights were needed. All attributes: anatomy.csv and anatomy.parquet, beside."
    return [("anatomy", "Anatomy", Content(lead, blocks, note))]


def _counts(fine: pl.DataFrame) -> Block:
    options = [Option(title, [_bars(fine, key)]) for key, title in _COUNTED.items()]
    return Figures(
        "anatomy-counts",
        "How many models share a value of an attribute, the most frequent values first.",
        options,
        height=380,
        min_width=560,
    )


def _bars(fine: pl.DataFrame, key: str) -> Figure:
    values = fine[key].cast(pl.String).fill_null("unknown")
    if key == "downsampling":
        values = pl.Series([_runs(word or "none") for word in values])
    if key == "anti_aliased":
        values = values.replace({"true": "yes", "false": "no"})
    counts = values.value_counts(sort=True).head(_BARS).rows()
    names = [numbers.shortened(word, 42) for word, _ in counts]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [number for _, number in counts],
        "y": list(range(len(counts))),
        "text": [f"{numbers.count(number)}" for _, number in counts],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertext": [label(word) for word, _ in counts],
        "hoverinfo": "text",
        "marker": {"color": PALETTE[0]},
    }
    up = {
        "tickvals": list(range(len(counts))),
        "ticktext": [label(name) for name in names],
        "autorange": "reversed",
        "automargin": True,
        "zeroline": False,
    }
    return Figure([trace], {"xaxis": Axis("Models").layout(), "yaxis": up, "showlegend": False})


def _row(row: dict[str, Any]) -> list[Cell]:
    data = ", then ".join(one for one in (row["pretraining_data"], row["fine_tuning_data"]) if one)
    field = row["receptive_field"]
    everything = field is not None and math.isinf(field)
    return [
        Cell(row["model"], row["flags"] or "", row["model"]),
        _word(row["family"]),
        _word(row["kind"]),
        _word(row["stem"] or "none"),
        _number(row["stem_effective_kernel"]),
        _word(_runs(row["downsampling"] or "none")),
        _word(row["head_pool"]),
        _word(row["norms"]),
        _number(row["depth"]),
        _number(row["parameters"], 1e6, 1),
        _number(row["multiply_adds"], 1e9, 2),
        _number(row["input_size"]),
        Cell("all", order=1e9) if everything else _number(field),
        _number(row["pixel_factor"], digits=2),
        _word(row["pretraining"] or "unknown"),
        _word(data or "unknown"),
    ]


def _runs(text: str) -> str:
    """`max, conv, conv` as `max, conv x 2`."""
    words: list[tuple[str, int]] = []
    for word in text.split(", "):
        if words and words[-1][0] == word:
            words[-1] = (word, words[-1][1] + 1)
        else:
            words.append((word, 1))
    times = "\N{MULTIPLICATION SIGN}"
    return ", ".join(f"{word} {times} {many}" if many > 1 else word for word, many in words)


def _word(text: str | None) -> Cell:
    return Cell(text or "unknown", order=text or "")


def _number(value: float | None, scale: float = 1, digits: int = 0) -> Cell:
    if value is None:
        return number_cell(None, "none")
    return number_cell(value, f"{value / scale:,.{digits}f}")


def _failures(failed: pl.DataFrame) -> Block:
    columns = (Column("model", "Model"), Column("why", "Why"))
    rows = [
        [Cell(row["model"], order=row["model"]), Cell(row["error"] or "", order=row["error"])]
        for row in failed.head(_FAILURES).iter_rows(named=True)
    ]
    return Table("anatomy-failures", "Models that failed and why.", columns, rows)
