"""The section of the page on what models are made of."""

from __future__ import annotations

import math
import re

import polars as pl
import pytest

from holdfast.records.explanations import ANATOMY_COLUMNS, write_anatomy
from holdfast.report.blocks import Figures, Table
from holdfast.report.explain import write_explanation_page
from holdfast.report.explain.anatomy import sections

NET = {
    "model": "net.a_in1k", "architecture": "net", "status": "ok", "family": "net",
    "kind": "convolutional", "stem": "conv 7x7/2, max 3x3/2", "stem_kernel": 7,
    "stem_effective_kernel": 11, "stem_pool": "max",
    "downsampling": "strided conv, max, strided conv, strided conv, strided conv",
    "anti_aliased": False, "head_pool": "average", "norms": "batch", "activation": "relu",
    "depth": 50, "parameters": 25_557_032, "multiply_adds": 4_089_184_256, "input_size": 224,
    "receptive_field": 427.0, "pixel_factor": 1 / 0.224, "pretraining": "supervised",
    "pretraining_data": "in22k", "fine_tuning_data": "in1k",
}  # fmt: skip
FAILED = {"model": "bad<i>net", "status": "failed", "error": "no such <layer>"}


def frame(*rows):
    whole = [dict.fromkeys(ANATOMY_COLUMNS) | row for row in rows]
    return pl.DataFrame(whole, schema=ANATOMY_COLUMNS, orient="row")


@pytest.fixture
def rows():
    vit = {"kind": "attention", "family": "vit", "receptive_field": math.inf, "stem_pool": "none"}
    unknown = {"anti_aliased": None, "pretraining": None, "pretraining_data": None}
    more = {"fine_tuning_data": None, "downsampling": "strided conv"}
    return frame(
        NET, NET | {"model": "net.b"}, NET | {"model": "vit"} | vit | unknown | more, FAILED
    )


def blocks(rows, kind):
    ((_, _, content),) = sections(rows)
    return [block for block in content.blocks if isinstance(block, kind)]


def test_the_lead_counts_what_could_be_read_and_what_not(rows):
    ((name, title, content),) = sections(rows)

    assert (name, title) == ("anatomy", "Anatomy")
    assert content.lead.startswith("Three models of two families, read from the operations")
    assert content.lead.endswith("One model could not be read.")


def test_the_table_has_every_model_and_sorts_by_numbers(rows):
    table, failures = blocks(rows, Table)
    names = [column.key for column in table.columns]
    net, _, vit = (dict(zip(names, row, strict=True)) for row in table.rows)

    assert table.sortable
    assert net["model"].text == "net.a_in1k"
    assert (net["params"].text, net["macs"].text) == ("25.6", "4.09")
    assert net["params"].order == 25_557_032
    assert net["down"].text == "strided conv, max, strided conv \N{MULTIPLICATION SIGN} 3"
    assert net["data"].text == "in22k, then in1k"
    assert net["factor"].text == "4.46"
    # All pixels sort above any number of them.
    assert (vit["field"].text, vit["field"].order > net["field"].order) == ("all", True)
    assert (vit["pre"].text, vit["data"].text) == ("unknown", "unknown")
    assert [cell.text for cell in failures.rows[0]] == ["bad<i>net", "no such <layer>"]


def test_bars_count_each_value_and_say_what_is_unknown(rows):
    (counts,) = blocks(rows, Figures)
    bars = {option.label: option.figures[0].data[0] for option in counts.options}

    assert bars["What mixes positions"]["x"] == [2, 1]
    assert bars["What mixes positions"]["hovertext"] == ["convolutional", "attention"]
    assert set(bars["Anti-aliased downsampling"]["hovertext"]) == {"no", "unknown"}
    assert sum(bars["Pretraining"]["x"]) == 3
    assert bars["Downsampling"]["hovertext"][0].endswith("\N{MULTIPLICATION SIGN} 3")


def test_one_model_has_no_bars_and_failures_alone_no_table(rows):
    assert blocks(rows.head(1), Figures) == []
    assert [block.name for block in blocks(rows.tail(1), Table)] == ["anatomy-failures"]


def test_the_page_escapes_and_stays_small_with_all_of_timm(rows, tmp_path):
    names = [NET | {"model": f"net{one}.a_in1k"} for one in range(1800)]
    write_anatomy(tmp_path, pl.concat([frame(*names), rows]))
    text = write_explanation_page(tmp_path).read_text()

    assert "bad&lt;i&gt;net" in text and "bad<i>net" not in text
    assert len(re.findall(r"<tr>\s*<td", text)) >= 1803
    assert len(text) < 8_000_000
    # The CSV beside has every attribute.
    assert (tmp_path / "anatomy.csv").read_text().splitlines()[0] == ",".join(ANATOMY_COLUMNS)
