"""The section of the page on advice."""

from __future__ import annotations

import json
import math

import plotly.graph_objects as go
import pytest

from holdfast.records.explanations import Advice, Advised, Consequence, Value, write_explanation
from holdfast.report.blocks import Figures, Table
from holdfast.report.explain import write_explanation_page
from holdfast.report.explain.advice import sections

NOISE = "gaussian_noise(sigma=0.12)"
ARROW = "\N{RIGHTWARDS ARROW}"


def value(center, half=0.02):
    return Value(value=center, low=center - half, high=center + half, count=500)


def part(condition, predicted, measured, before=0.6):
    return Consequence(
        condition=condition,
        predicted=predicted,
        measured=value(measured),
        before=value(before),
        after=value(before + measured),
    )


def change(name, clean, noisy, predicted=0.03, **other):
    parts = (part("clean", Value(), clean, 0.8), part(NOISE, value(predicted), noisy))
    return Advised(change=name, why="Less noise.", consequences=parts, **other)


def advice(*advised, **other):
    known = {
        "model": "<b>net</b>",
        "data": "photos test",
        "images": 500,
        "conditions": ("clean", NOISE),
        "curve": ((0.0, 0.8), (0.12, 0.6), (0.18, 0.4)),
        "verdict": "low_pass(std=0.4) gains.",
    }
    return Advice(advised=advised, **(known | other))


@pytest.fixture
def found():
    return advice(
        change("low_pass(std=0.4)", 0.002, 0.025, about="a filter"),
        change("resolution(size=160)", -0.08, -0.04, view="native"),
        Advised(change="average_pooling(where=all)", status="does not apply", why="<i>none</i>."),
        Advised(change="normalization(mean=0.5, std=0.5)", status="failed", why="it broke"),
    )


def blocks(found, kind):
    return [
        one for _, _, content in sections(found) for one in content.blocks if isinstance(one, kind)
    ]


def table(found, name):
    return next(one for one in blocks(found, Table) if one.name == name)


def text(cell):
    return f"{cell.text} {cell.detail or ''}"


def test_the_verdict_is_on_top(found):
    (name, _, content), (curve, _, _) = sections(found)

    assert (name, curve) == ("advice", "advice-curve")
    assert content.lead == found.verdict
    assert "500 images of photos test" in content.note


def test_each_measured_change_is_a_row_with_both_numbers(found):
    shown = table(found, "advice-table")
    rows = [" | ".join(text(cell) for cell in row) for row in shown.rows]

    assert len(rows) == 2
    assert "+2.5 points" in rows[0] and "+3.0 points" in rows[0]
    assert f"60.0\N{NO-BREAK SPACE}% {ARROW} 62.5\N{NO-BREAK SPACE}%" in rows[0]
    assert "native size" in rows[1]
    assert all("Less noise." in row for row in rows)


def test_changes_that_were_not_measured_are_told_apart(found):
    rows = [" ".join(text(cell) for cell in row) for row in table(found, "advice-others").rows]

    assert "does not apply" in rows[0]
    assert "failed" in rows[1] and "it broke" in rows[1]


def test_figures_are_valid_and_dots_are_the_numbers(found):
    shown = {one.name: one for one in blocks(found, Figures)}
    assert set(shown) == {"advice-figure", "advice-curve-figure"}
    for block in shown.values():
        for figures in json.loads(block.json):
            for figure in figures:
                go.Figure(data=figure["data"], layout=figure["layout"])
    (noise, *_), (clean, *_) = json.loads(shown["advice-figure"].json)
    traces = {trace["name"]: trace for trace in noise["data"]}
    assert traces["measured"]["x"] == pytest.approx([2.5, -4.0])
    assert traces["predicted"]["x"] == pytest.approx([3.0, 3.0])
    assert traces["measured"]["error_x"]["array"] == pytest.approx([2.0, 2.0])
    # Theory says nothing of clean images: there are no dots of it.
    assert [trace["name"] for trace in clean["data"]] == ["measured"]


def test_bars_end_where_the_intervals_do():
    skewed = Value(value=0.05, low=0.01, high=0.06, count=500)
    one = part(NOISE, skewed, 0.05).model_copy(update={"measured": skewed})
    found = advice(Advised(change="low_pass(std=0.4)", consequences=(one,)), conditions=(NOISE,))
    block = next(one for one in blocks(found, Figures) if one.name == "advice-figure")
    traces = json.loads(block.json)[0][0]["data"]

    assert len(traces) == 2
    for trace in traces:
        assert trace["error_x"]["array"] == pytest.approx([1.0])
        assert trace["error_x"]["arrayminus"] == pytest.approx([4.0])


def test_a_page_is_written_and_escapes(found, tmp_path):
    write_explanation(tmp_path, found)
    page = write_explanation_page(tmp_path).read_text()

    assert "<b>net</b>" not in page
    assert "<i>none</i>" not in page


def test_nothing_measured_is_no_figure():
    found = advice(
        Advised(change="low_pass(std=0.4)", status="failed", why="it broke"),
        curve=(),
        verdict="No change could be measured, so none is advised.",
    )
    (only,) = sections(found)

    assert only[2].lead.startswith("No change could be measured")
    assert [one.name for one in blocks(found, Table)] == ["advice-others"]
    assert not blocks(found, Figures)


def test_no_data_is_no_zero(tmp_path):
    found = advice(
        Advised(
            change="low_pass(std=0.4)",
            consequences=(
                Consequence(
                    condition="clean",
                    predicted=Value(),
                    measured=Value(),
                    before=Value(),
                    after=Value(),
                ),
            ),
        ),
        conditions=("clean",),
        curve=((0.0, math.nan), (0.12, math.nan)),
        verdict="No change helps.",
    )
    write_explanation(tmp_path, found)

    assert write_explanation_page(tmp_path).is_file()
    (row,) = table(found, "advice-table").rows
    assert "0.0 points" not in " ".join(text(cell) for cell in row)
