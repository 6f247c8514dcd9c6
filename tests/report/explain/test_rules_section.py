"""The section of design rules."""

from __future__ import annotations

import math

from holdfast.records.explanations import (
    Effect,
    GroupTest,
    HeldOut,
    Linearity,
    ModelSlope,
    Rules,
    Value,
    Verdict,
    read_explanation,
    write_explanation,
)
from holdfast.report.blocks import Definitions, Figures, Heading, Table
from holdfast.report.explain.page import write_explanation_page
from holdfast.report.explain.rules import sections


def effect(attribute="stem_kernel", method="regression", outcome="slope", value=0.01, p=0.001):
    return Effect(
        attribute=attribute, contrast="per <doubling>", outcome=outcome, method=method,
        effect=Value(value=value, low=value - 0.005, high=value + 0.005, count=12),
        p_value=p, p_holm=p, families=3, note="1 of 1 sets up, 0 down. Sets: a | b",
    )  # fmt: skip


def rules(**changes):
    effects = (effect(), effect("input_size", value=-0.02, p=0.2), effect(method="pairs"))
    fields = {
        "source": "a table",
        "perturbation": "gaussian_noise",
        "levels": (1, 2),
        "models": 3,
        "described": 2,
        "effects": effects,
        "verdicts": (
            Verdict(rule="larger stem kernels are more robust", outcome="slope",
                    judgement="holds", evidence="By pairs <1>", effects=effects[:1]),
        ),
        "held_out": (
            HeldOut(outcome="slope", spearman=Value(value=0.4, low=0.2, high=0.6, count=20),
                    within=Value(value=0.6), splits=20, families=6),
        ),
        "linearity": (
            Linearity(metric="accuracy", count=3, low=0.9, median=0.95, high=1, straight=0.9),
        ),
        "groups": (
            GroupTest(attribute="kind", outcome="slope", groups=("attention", "mlp"),
                      means=(-0.1, -0.2), counts=(2, 2), letters=("a", "b"), f_value=4,
                      p_value=0.1),
        ),
        "points": (
            ModelSlope(model="<b>", family="resnet", kind="convolutional", clean=0.7, slope=-0.1,
                       rank_diff=1, drop=0.2, r_squared=0.99, attributes={"stem": "conv 7x7/2"}),
            ModelSlope(model="lost", clean=0.6, slope=-0.2, attributes={"unresolved": "who?"}),
        ),
    } | changes  # fmt: skip
    return Rules(**fields)


def content(found):
    ((name, title, made),) = sections(found)
    assert name == "rules"
    assert "gaussian_noise" in title
    return made


def test_everything_is_shown():
    made = content(rules())
    tables = {block.name: block for block in made.blocks if isinstance(block, Table)}

    assert "three models" in made.lead.lower()
    assert "one holds" in made.lead
    assert tables["rules-verdicts"].rows[0][2].text == "holds"
    assert tables["rules-effects"].rows[0][4].text == "+1.00 points a level"
    assert tables["rules-effects"].rows[0][4].detail == "[0.50,\N{NO-BREAK SPACE}1.50]"
    assert tables["rules-held-out"].rows[0][1].text == "0.40"
    assert tables["rules-linearity"].rows[0][2].text == "90\N{NO-BREAK SPACE}%"
    assert "attention \N{MINUS SIGN}10.00 (2) a" in tables["rules-groups"].rows[0][2].text
    listed = [block.entries for block in made.blocks if isinstance(block, Definitions)]
    assert listed == [
        [("stem kernel, per <doubling>", "a against b")],
        [("Who?", "lost")],
    ]


def test_the_forest_has_a_menu_of_outcomes_and_methods_and_tells_harm_from_help():
    made = content(rules(effects=(effect(), effect("input_size", value=-0.02, p=0.2),
                                  effect(outcome="drop"), effect(method="pairs"))))  # fmt: skip
    forest = next(one for one in made.blocks if isinstance(one, Figures))

    assert [option.label for option in forest.options] == [
        "Slope, regression",
        "Drop, regression",
        "Slope, matched pairs",
    ]
    slope, drop, _ = (option.figures[0].data[0]["marker"] for option in forest.options)
    assert slope["symbol"] == ["circle-open", "circle"]  # the surest on top
    assert slope["color"][1] != slope["color"][0] == drop["color"][0]
    assert "&lt;doubling&gt;" in forest.options[0].figures[0].layout["yaxis"]["ticktext"][0]


def test_a_dot_is_filled_by_the_corrected_p():
    doubtful = effect(p=0.01).model_copy(update={"p_holm": 0.2})
    made = content(rules(effects=(doubtful,)))
    forest = next(one for one in made.blocks if isinstance(one, Figures))

    assert forest.options[0].figures[0].data[0]["marker"]["symbol"] == ["circle-open"]


def test_models_hover_with_their_attributes_escaped():
    made = content(rules())
    cloud = [one for one in made.blocks if isinstance(one, Figures)][1]

    assert [option.label for option in cloud.options] == ["Slope", "Rank difference", "Drop"]
    text = cloud.options[0].figures[0].data[0]["text"][0]
    assert "&lt;b&gt;" in text and "stem: conv 7x7/2" in text and "resnet" in text


def test_without_effects_it_says_so():
    made = content(
        rules(
            effects=(), held_out=(), linearity=(), groups=(), points=(),
            verdicts=(
                Verdict(rule="r", outcome="drop", judgement="no data", evidence="None."),
            ),
        )
    )  # fmt: skip

    assert "no data" in made.lead
    assert [block.text for block in made.blocks if isinstance(block, Heading)] == [
        "Four published rules"
    ]


def test_it_is_kept_and_has_a_page(tmp_path):
    kept = rules(effects=(effect(p=math.nan),))
    write_explanation(tmp_path, kept)
    found = read_explanation(tmp_path, Rules)
    page = write_explanation_page(tmp_path).read_text()

    assert found.verdicts == kept.verdicts
    assert math.isnan(found.effects[0].p_value)
    assert "Larger stem kernels are more robust" in page
    assert "By pairs &lt;1&gt;" in page
