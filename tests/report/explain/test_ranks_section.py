"""The section of the page on ranks."""

from __future__ import annotations

import json
import math

import plotly.graph_objects as go
import pytest

from holdfast.records.explanations import (
    AccuracyLine,
    Agreement,
    RankedModel,
    Ranks,
    Value,
    write_explanation,
)
from holdfast.report.blocks import Figures, Table
from holdfast.report.explain import write_explanation_page
from holdfast.report.explain.ranks import sections


def model(name, place, **other):
    known = {"clean": 0.9 - place / 20, "perturbed": 0.5 - place / 20, "clean_rank": place}
    known |= {"perturbed_rank": place, "rank_diff": 0, "effective": 0.01}
    known |= {"slope": Value(value=-0.5, low=-0.6, high=-0.4, count=4), "r_squared": 0.9}
    known |= {"levels": {"0": 0.9, "10": 0.6, "2": 0.7}, "borda": 4.0, "fair_borda": 3.5}
    return RankedModel(model=name, **(known | other))


def ranks(models, **other):
    known = {"perturbation": "noise", "conditions": ("noise 0.1", "noise 0.2")}
    known |= {"line": AccuracyLine(slope=1.2, intercept=-0.5, count=3, r_squared=0.8)}
    return Ranks(models=tuple(models), source="a toy", **(known | other))


@pytest.fixture
def found():
    agreement = Agreement(
        first="clean",
        second="perturbed",
        spearman=Value(value=0.5, low=0.1, high=0.8, count=3),
        kendall=Value(value=0.4, low=0.0, high=0.7, count=3),
    )
    models = [
        model("<b>net", 1, rank_diff=1, clean_rank=2, published=2),
        model("net2", 2, rank_diff=-1, clean_rank=1, published=-1),
        model("stuck", 3, constant=True),
    ]
    return ranks(models, agreements=(agreement,))


def blocks(found, kind):
    (_, _, content), *_ = sections(found)
    return [block for block in content.blocks if isinstance(block, kind)]


def test_the_lead_says_who_holds_best_and_who_moved(found):
    ((name, title, content),) = sections(found)

    assert ("ranks", "Ranks under noise") == (name, title)
    assert content.lead.startswith("Of three models, <b>net holds best under noise (45.0")
    assert "<b>net moves up most (+1 places)" in content.lead
    assert "net2 down most (\N{MINUS SIGN}1)" in content.lead
    assert "states 2 rank differences; 1 equal ours" in content.note


def test_figures_are_valid_and_show_every_model(found):
    shown = blocks(found, Figures)

    assert ["ranks-scatter", "ranks-slopes", "ranks-curves"] == [one.name for one in shown]
    for block in shown:
        for (figure,) in json.loads(block.json):
            go.Figure(figure)
    scatter = shown[0].options[0].figures[0]
    dots = [trace for trace in scatter.data if trace["mode"] == "markers"]
    assert [2, 1] == [len(trace["x"]) for trace in dots]
    assert "&lt;b&gt;net" in dots[0]["text"][0]


def test_the_line_is_the_logistic_of_the_logit(found):
    line = blocks(found, Figures)[0].options[0].figures[0].data[0]
    clean, up = line["x"][0], line["y"][0]

    logit = math.log(up / (1 - up))
    assert math.isclose(logit, -0.5 + 1.2 * math.log(clean / (1 - clean)))
    scaled = blocks(found, Figures)[0].options[1].figures[0].data[0]
    slope = (scaled["y"][-1] - scaled["y"][0]) / (scaled["x"][-1] - scaled["x"][0])
    assert math.isclose(slope, 1.2)


def test_curves_run_by_level_and_not_by_text(found):
    curve = blocks(found, Figures)[2].options[0].figures[0].data[0]

    assert [0.0, 2.0, 10.0] == list(curve["x"])


def test_the_table_has_what_is_known(found):
    table, agreements = blocks(found, Table)
    keys = [column.key for column in table.columns]

    assert {"published", "slope", "borda", "fair"} <= set(keys)
    assert [1, -1, 0] == [row[keys.index("diff")].order for row in table.rows]
    assert "looks like a constant answer" == table.rows[2][0].detail
    assert "[0.10," in agreements.rows[0][2].detail
    plain = ranks([model("a", 1, slope=Value(), r_squared=math.nan, levels={})], conditions=("x",))
    keys = [column.key for column in blocks(plain, Table)[0].columns]
    assert not {"published", "slope", "fit", "borda"} & set(keys)
    assert ["ranks-scatter"] == [one.name for one in blocks(plain, Figures)]


def test_a_table_without_places_says_so():
    lost = RankedModel(model="a")
    ((_, _, content),) = sections(ranks([lost], line=AccuracyLine()))

    assert "No model can be ranked under noise." == content.lead


def test_the_page_escapes_names(found, tmp_path):
    write_explanation(tmp_path, found)
    text = write_explanation_page(tmp_path).read_text(encoding="utf-8")

    assert "<b>net" not in text
    assert "ranks-table" in text
