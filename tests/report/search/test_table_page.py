"""The page of a look at a table."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from holdfast.core.errors import BadValueError
from holdfast.records.searches import (
    Best,
    Neighbour,
    Neighbourhood,
    Ranked,
    Spread,
    TableStudy,
    write_table_study,
)
from holdfast.report.search import write_table_page
from report.search.make_search import TABLE, make_study
from report.search.test_search_page import figures_of


def page_of(folder, study):
    return write_table_page(write_table_study(folder, study)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("table"), make_study())


def test_each_part_has_a_section(text):
    sections = ("correlation", "best", "neighbours", "operators", "spread", "columns", "setup")

    assert [] == [name for name in sections if f'<section id="{name}"' not in text]


def test_leads_say_what_the_numbers_say(text):
    assert (
        "clean and fog agree most (tau 0.50), clean and pgd least (tau \N{MINUS SIGN}0.25)" in text
    )
    assert "1 of 2 neighbours has a higher value in clean" in text
    assert "In the 2 best by clean, x is 75" in text


def test_neighbours_of_one_name_stay_apart_and_gaps_stay_away(text):
    dots = next(
        trace
        for figure in figures_of(text)
        for trace in figure["data"]
        if trace["type"] == "scatter"
    )

    assert [0.95, 0.9, 0.2] == dots["y"]


def test_every_figure_is_one_that_plotly_knows(text):
    assert 4 == len([go.Figure(figure) for figure in figures_of(text)])


def test_what_was_not_asked_for_is_not_there(tmp_path):
    only = make_study(correlations=(), best=(), neighbourhoods=(), operators=(), spreads=())
    found = page_of(tmp_path, only)

    assert '<section id="columns"' in found and '<section id="correlation"' not in found


def test_units_go_by_the_metric(tmp_path):
    metrics = {"speed": "milliseconds", "recall": "recall(class=3)"}
    fast = Ranked(arch="a", values={"speed": 0.125, "recall": 0.25, "clean": 0.5})
    near = Neighbour(arch="b", change="node 1: x to y", value=0.25)
    study = make_study(
        best=(Best(column="speed", metric="milliseconds", metrics=metrics, ranked=(fast,)),),
        neighbourhoods=(
            Neighbourhood(
                column="speed", metric="milliseconds", arch="a", value=0.125, near=(near,)
            ),
        ),
        spreads=(
            Spread(column="speed", metric="milliseconds", groups=("g",), values=((0.1, 0.2),)),
        ),
    )
    found = page_of(tmp_path, study)
    body = re.search(r'<section id="best".*?</section>', found, re.DOTALL)[0]

    assert "The best by speed has 0.125." in found
    assert "12.5" not in body and "25.00" in body and "50.00" in body
    assert "nine in ten lie between 0.105 and 0.195 in speed" in found
    assert not [
        figure
        for figure in figures_of(found)
        if figure["layout"]["yaxis"].get("title", {}).get("text") == "speed"
        and "%" in figure["layout"]["yaxis"].get("tickformat", "")
    ]


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(BadValueError, match="--describe"):
        page_of(tmp_path, TableStudy(table=TABLE))
