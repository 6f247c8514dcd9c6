"""The section of the causal check says what its record says."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import pytest

from holdfast.records.explanations import Causal
from holdfast.report.blocks import Figures, Table
from holdfast.report.explain.causal import sections
from report.explain.make_explanations import make_causal


def content_of(found):
    [(name, _, content)] = sections(found)
    assert "causal" == name
    return content


def block(content, name):
    return next(one for one in content.blocks if getattr(one, "name", "") == name)


@pytest.fixture(name="found", scope="module")
def _found():
    return make_causal()


@pytest.fixture(name="content", scope="module")
def _content(found):
    return content_of(found)


def test_the_verdict_leads(found, content):
    assert found.verdict == content.lead


def test_the_note_says_what_was_trained_on_what(content):
    assert "1,000 training images, 16 epochs, 500 test images" in content.note


def test_every_figure_is_one_that_plotly_takes(content):
    for one in content.blocks:
        if isinstance(one, Figures):
            for option in one.options:
                for figure in option.figures:
                    go.Figure(data=list(figure.data), layout=figure.layout)


def test_each_pooling_has_a_panel_of_all_stems(content):
    [option] = block(content, "causal-curves").options
    names = [[trace["name"] for trace in panel.data if "name" in trace] for panel in option.figures]

    assert [["stem 3", "stem 5"], ["stem 3", "stem 5"]] == names
    titles = [panel.layout["title"]["text"] for panel in option.figures]
    assert ["Average pooling", "Max pooling"] == titles


def test_both_panels_have_one_scale(content):
    [option] = block(content, "causal-curves").options
    first, second = (panel.layout["yaxis"]["range"] for panel in option.figures)

    assert first == second


def test_curves_show_the_means_and_bands_within_what_a_share_can_be(found, content):
    [option] = block(content, "causal-curves").options
    line = next(trace for trace in option.figures[0].data if trace.get("name") == "stem 3")
    bands = [trace for trace in option.figures[0].data if "fill" in trace]

    assert [value.value for _, value in found.variants[0].accuracies] == line["y"]
    assert 2 == len(bands)
    assert all(0 <= y <= 1 for trace in bands for y in trace["y"])
    assert 1 in bands[0]["y"]  # an interval of the record reaches above


def test_pointing_at_a_curve_tells_seeds_and_not_images(content):
    [option] = block(content, "causal-curves").options
    line = next(trace for trace in option.figures[0].data if trace.get("name") == "stem 3")

    assert "three seeds" in line["text"][0]
    assert "images" not in "".join(line["text"])


def test_the_forest_shows_each_contrast_with_its_interval(found, content):
    [option] = block(content, "causal-contrasts").options
    slope, clean = option.figures
    one = found.contrasts[0].difference
    bar = slope.data[0]["error_x"]

    assert [one.value, one.value + bar["array"][0]] == pytest.approx(
        [slope.data[0]["x"][0], one.high]
    )
    assert one.value - bar["arrayminus"][0] == pytest.approx(one.low)
    assert 100 * found.contrasts[2].difference.value == pytest.approx(clean.data[0]["x"][0])
    assert "points" in clean.layout["xaxis"]["title"]["text"]


def test_tables_have_a_row_each(found, content):
    contrasts = block(content, "causal-contrast-table")
    variants = block(content, "causal-variants")

    assert len(found.contrasts) == len(contrasts.rows)
    assert len(found.variants) == len(variants.rows)
    assert "+0.250" == contrasts.rows[0][2].text
    assert "+2.0 points" == contrasts.rows[2][2].text
    assert "below 0.001" == contrasts.rows[0][3].text


def test_what_failed_altogether_is_said_and_not_drawn():
    found = make_causal()
    gone = found.variants[0].model_copy(
        update={"seeds": 0, "accuracies": (), "slope": type(found.variants[0].slope)()}
    )
    content = content_of(found.model_copy(update={"variants": (gone, *found.variants[1:])}))
    [option] = block(content, "causal-curves").options
    rows = block(content, "causal-variants").rows
    average = next(
        one for one in option.figures if "Average pooling" == one.layout["title"]["text"]
    )

    assert ["stem 5"] == [trace["name"] for trace in average.data if "name" in trace]
    assert "no data" == rows[0][3].text


def test_one_seed_has_no_bars():
    found = make_causal()
    lone = [
        one.model_copy(
            update={
                "difference": one.difference.model_copy(update={"low": math.nan, "high": math.nan})
            }
        )
        for one in found.contrasts
    ]
    content = content_of(found.model_copy(update={"contrasts": tuple(lone)}))
    [option] = block(content, "causal-contrasts").options

    assert all("error_x" not in panel.data[0] for panel in option.figures)


def test_an_experiment_without_trainings_says_so():
    content = content_of(Causal(model="small:stem", data="digits"))

    assert "Nothing was trained." == content.lead
    assert not [one for one in content.blocks if isinstance(one, Table | Figures)]
