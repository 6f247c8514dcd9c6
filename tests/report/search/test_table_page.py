"""The page of a look at a table."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from holdfast.core.errors import BadValueError
from holdfast.records.searches import TableStudy, write_table_study
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


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(BadValueError, match="--describe"):
        page_of(tmp_path, TableStudy(table=TABLE))
