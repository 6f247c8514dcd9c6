"""The page of a search says what the trials say."""

from __future__ import annotations

import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from holdfast.core.errors import MissingError
from holdfast.records.searches import Asked, Ran, Scored, Winner, write_search
from holdfast.report import numbers
from holdfast.report.search import write_search_page
from report.search.make_search import CELL, make_limit, make_search, make_trials, make_values

SCRIPT = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)


def page_of(folder, search, trials):
    return write_search_page(write_search(folder, search, trials)).read_text(encoding="utf-8")


def figures_of(text):
    return [
        figure
        for block in SCRIPT.findall(text)
        for option in json.loads(block)
        for figure in option
    ]


def without_script(text):
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    trials = make_trials(["random", "local"], make_values())
    return page_of(tmp_path_factory.mktemp("search"), make_search(), trials)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    values = np.random.default_rng(0).random((2, 3, 8, 2)) * [1, -10]
    search = make_search(
        objectives=(
            Asked(text="clean"),
            Asked(text="latency", direction="minimize", metric="milliseconds"),
        ),
        constraints=(make_limit(),),
        optimum=None,
        select_on="test",
        flags=("Seven <cells> failed.",),
    )
    able = np.arange(8) % 4 != 0
    feasible = np.broadcast_to(able, (2, 3, 8))
    trials = make_trials(["random", "local"], values, limits=1, feasible=feasible)
    return page_of(tmp_path_factory.mktemp("several"), search, trials)


def test_the_answer_is_the_mean_of_the_best_searcher(text):
    assert "After eight queries, local holds 90.00" in text
    assert "local finds the best of the table in 100" in text


def test_every_searcher_has_a_curve_with_a_band(text):
    traces = figures_of(text)[0]["data"]
    named = [trace["name"] for trace in traces if "name" in trace]

    assert ["random", "local"] == named
    assert 1 <= sum(trace.get("fill") == "toself" for trace in traces) <= 2
    assert list(range(1, 9)) == next(trace["x"] for trace in traces if "name" in trace)


def test_every_figure_is_one_that_plotly_knows(text, several):
    found = figures_of(text) + figures_of(several)

    assert len(found) >= 5
    for figure in found:
        go.Figure(figure)


def test_the_page_asks_for_nothing_from_a_network(text):
    assert "default-src 'none'" in text
    assert [] == re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', without_script(text))


def test_no_alert_where_a_validation_split_was_searched(text, several):
    assert 'class="alert"' not in without_script(text)
    assert 'class="alert"' in without_script(several)
    assert "chose by scores on the test split" in several


def test_flags_and_constraints_are_told_and_escaped(several):
    assert "Seven &lt;cells&gt; failed." in several
    assert "latency &lt;= 6" in without_script(several)
    assert "75" in re.search(r'id="constraints".*?class="lead">(.*?)</p>', several, re.DOTALL)[1]


def test_the_front_is_drawn_as_the_table_has_it(several):
    front = next(
        trace
        for figure in figures_of(several)
        for trace in figure["data"]
        if trace.get("name") == "Pareto front"
    )

    assert sorted(front["x"]) == front["x"]
    assert sorted(front["y"]) == front["y"] and front["y"][0] > 0


def test_winners_are_drawn_with_their_share(text):
    assert 2 == text.count('<svg class="cell"')
    assert "The best of the table. local: 100" in text


def test_a_cell_of_the_heat_map_without_a_number_stays_empty(text):
    heat = next(f for f in figures_of(text) if f["data"][0]["type"] == "heatmap")

    assert [0.5, 1.0, None] == heat["data"][0]["z"][1]


def test_searchers_without_anything_feasible_are_said_so(tmp_path):
    values = make_values()
    trials = make_trials(["random", "local"], values, feasible=np.zeros(values.shape[:3]))
    found = page_of(tmp_path, make_search(winners=(), scored=()), trials)

    assert "No searcher found an architecture that has a value" in found


def test_one_repetition_and_one_query_make_a_page(tmp_path):
    search = make_search(budget=1, repetitions=1, winners=(), correlations=None, optimum=None)
    found = page_of(tmp_path, search, make_trials(["random"], make_values()[:1, :1, :1]))

    assert "After one query, random holds" in found


def test_who_found_the_best_is_what_the_record_says(tmp_path):
    ran = (Ran(spec="random", found=2 / 3), Ran(spec="local", found=1 / 3))
    trials = make_trials(["random", "local"], make_values())
    found = page_of(tmp_path, make_search(searchers=ran), trials)

    assert "random finds the best of the table in 67" in found
    shares = re.search(r'id="budget-table".*?</table>', found, re.DOTALL)[0]
    assert re.search(r"random.*?67.*?local.*?33", shares, re.DOTALL)


def test_where_nobody_counted_no_share_is_made_up(tmp_path):
    ran = (Ran(spec="random"), Ran(spec="local"))
    trials = make_trials(["random", "local"], make_values())
    found = without_script(page_of(tmp_path, make_search(searchers=ran), trials))

    assert "finds the best of the table" not in found
    assert numbers.NOT_MEASURED in re.search(r'id="budget-table".*?</table>', found, re.DOTALL)[0]


def test_a_latency_below_a_millisecond_is_no_share(tmp_path):
    asked = Asked(text="latency", direction="minimize", metric="milliseconds")
    scored = Scored(searcher="local", column="speed", metric="milliseconds", mean=0.25, count=3)
    winner = Winner(searcher="local", arch="a", share=1, values={"speed": 0.25}, cells=(CELL,))
    search = make_search(objectives=(asked,), optimum=None, scored=(scored,), winners=(winner,))
    values = -make_values()[:, :, ::-1]
    found = without_script(page_of(tmp_path, search, make_trials(["random", "local"], values)))

    assert "local holds 0." in found or "random holds 0." in found
    for section in ("results", "winners"):
        body = re.search(rf'<section id="{section}".*?</section>', found, re.DOTALL)[0]
        assert "0.25" in body and "25.00" not in body


def test_regret_is_drawn_beside_the_incumbent(text):
    options = json.loads(SCRIPT.findall(text)[0])
    incumbent, regret = (
        next(t for t in figures[0]["data"] if t.get("name") == "random") for figures in options
    )

    assert "Regret: distance to the best there is" in text
    assert [100 * (0.9 - one) for one in incumbent["y"]] == pytest.approx(regret["y"])


def test_an_empty_folder_has_no_page(tmp_path):
    with pytest.raises(MissingError, match=r"search\.json"):
        write_search_page(tmp_path)
