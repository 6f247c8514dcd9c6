"""The sections of the page on robust fine-tuning."""

from __future__ import annotations

import json
import math

import plotly.graph_objects as go
import pytest

from holdfast.records.explanations import (
    BestOf,
    Configuration,
    FineTuning,
    Odds,
    Protocol,
    Proxy,
    Value,
    read_explanation,
    write_explanation,
)
from holdfast.records.explanations.rules import GroupTest
from holdfast.report.blocks import Figures, Table
from holdfast.report.explain import write_explanation_page
from holdfast.report.explain._fine_tuning_groups import p_text
from holdfast.report.explain.fine_tuning import sections

METRICS = ("clean", "linf")


def configuration(backbone, loss, borda, **other):
    known = {"size": "large", "kind": "convolutional", "strategy": "supervised"}
    known |= {"fair_borda": borda - 0.5, "score_sum": borda / 10, "geometric": 0.1}
    known |= {"constant": 0, "means": (0.5, 0.2)}
    return Configuration(backbone=backbone, loss=loss, borda=borda, **(known | other))


def protocol(name):
    groups = GroupTest(
        attribute="size",
        outcome="borda",
        groups=("large", "small"),
        means=(20.5, 10.0),
        counts=(2, 1),
        letters=("a", "b"),
        f_value=4.0,
        p_value=0.025,
    )
    return Protocol(
        name=name,
        means=(0.5, 0.2),
        spearman=((1.0, 0.7), (0.7, 1.0)),
        mac=0.7,
        configurations=(
            configuration("net<1>", "TRADES", 24),
            configuration("net2", "Classic AT", 17, constant=1, fair_borda=4.0),
        ),
        groups=(groups,),
        nested={"kind": 0.01, "kind/size": math.nan},
        odds=(
            Odds(group="large", wins=18, losses=0, odds_ratio=math.inf, p_value=2e-10),
            Odds(group="small", wins=0, losses=0, odds_ratio=math.nan, p_value=math.nan),
        ),
        best=(
            BestOf(
                dataset="pets",
                backbone="net<1>",
                loss="TRADES",
                accuracies=(0.5, 0.2),
                tied=("net2 with Classic AT",),
            ),
        ),
        chance=1,
    )


@pytest.fixture
def found():
    rho = Value(value=0.44, low=0.23, high=0.61, count=80)
    return FineTuning(
        source="toy.csv",
        metrics=METRICS,
        rows=4,
        protocols=(protocol("FFT-50"), protocol("LP-50")),
        proxies=(Proxy(cheap="LP-50", dear="FFT-50", group="all", spearman=rho),),
        lost_workers=2,
        headline="The answer.",
        mac_global=0.8,
    )


def content(found, name):
    return next(one for key, _, one in sections(found) if key == name)


def test_each_part_of_the_study_has_a_section(found):
    assert [
        "fine-tuning",
        "fine-tuning-ranking",
        "fine-tuning-groups",
        "fine-tuning-losses",
        "fine-tuning-metrics",
        "fine-tuning-proxies",
        "fine-tuning-best",
        "fine-tuning-pitfalls",
    ] == [name for name, _, _ in sections(found)]
    without = found.model_copy(update={"proxies": ()})
    assert "fine-tuning-proxies" not in [name for name, _, _ in sections(without)]


def test_figures_are_valid(found):
    count = 0
    for _, _, one in sections(found):
        for block in one.blocks:
            if isinstance(block, Figures):
                for (figure,) in json.loads(block.json):
                    go.Figure(figure)
                    count += 1

    assert 2 + 1 + 2 == count


def test_names_of_blocks_are_unique(found):
    names = [
        block.name
        for _, _, one in sections(found)
        for block in one.blocks
        if isinstance(block, Figures | Table)
    ]

    assert len(names) == len(set(names))


def test_numbers_stand_where_they_belong(found):
    ranking = content(found, "fine-tuning-ranking").blocks[0]
    groups = content(found, "fine-tuning-groups").blocks[1]
    odds = content(found, "fine-tuning-losses").blocks[0]
    best = content(found, "fine-tuning-best").blocks[0]
    metrics = content(found, "fine-tuning-metrics")

    assert ("24", "fair 24") == (ranking.rows[0][2].text, ranking.rows[0][2].detail)
    assert "fair 4, constant on 1" == ranking.rows[1][2].detail
    assert ("20.5", "a") == (groups.rows[0][2].text, groups.rows[0][2].detail)
    assert ("18 : 0", "odds ratio \u221e, p 2e\u221210") == (
        odds.rows[0][1].text,
        odds.rows[0][1].detail,
    )
    assert "no data" == odds.rows[1][1].text
    assert "TRADES; as good by Borda: net2 with Classic AT" == best.rows[0][2].detail
    assert "0.700 under FFT-50 and 0.700 under LP-50" in metrics.lead
    assert "0.800 under FFT-50" in metrics.note
    pitfalls = content(found, "fine-tuning-pitfalls")
    assert "net2 with Classic AT has 17" in pitfalls.lead
    assert "2 of 8 accuracies" in pitfalls.note


def test_an_infinite_odds_ratio_survives_the_file(found, tmp_path):
    write_explanation(tmp_path, found)
    odds = read_explanation(tmp_path, FineTuning).protocols[0].odds

    assert math.isinf(odds[0].odds_ratio)
    assert math.isnan(odds[1].odds_ratio)


def test_the_page_escapes_names(found, tmp_path):
    write_explanation(tmp_path, found)
    text = write_explanation_page(tmp_path).read_text(encoding="utf-8")

    assert "net<1>" not in text
    assert "The answer." in text


def test_p_values_have_two_digits():
    assert ["0.025", "8.4e\u22127", "no data", "below 1e\u221215"] == [
        p_text(one) for one in (0.0251, 8.37e-7, math.nan, 1e-20)
    ]
