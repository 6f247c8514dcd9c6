import re

import plotly.graph_objects as go
import polars as pl
import pytest

from holdfast.records import FLAGS, Store
from holdfast.records.flags import TOO_HIGH
from holdfast.report import build_page
from holdfast.report.blocks import Definitions, Figures, Gallery, Table
from holdfast.report.evidence import Evidence
from holdfast.report.sections import SECTIONS, adversarial
from report.make_attacks import (
    FMN,
    MEMBERS,
    add_attack,
    add_attacks,
    attacked,
    auto,
    pictures,
    smallest,
)
from report.make_store import MODELS, add_run, make_store, samples_of

ATTACK_SECTIONS = (
    "robust",
    "eps",
    "stages",
    "adversarial",
    "attack-confidence",
    "confusion",
    "cost",
)
FIRST = auto(0)


@pytest.fixture(scope="module")
def attacks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks")
    return add_attacks(make_store(folder, conditions=("clean", "common11"), broken=0))


@pytest.fixture(scope="module")
def evidence(attacks):
    return Evidence(attacks)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    models = (*MODELS, *(f"timm:model_{n}" for n in range(3, 9)))
    store = make_store(
        tmp_path_factory.mktemp("many"), models=models, conditions=("clean",), broken=0
    )
    for model in range(9):
        rows = attacked(model, 8 / 255, MEMBERS)
        add_attack(store, model, auto(0).replace("2/255", "8/255"), rows, eps=8 / 255)
        add_attack(store, model, FMN, smallest(model), eps=None)
    return Evidence(store)


def build(name, evidence):
    return SECTIONS[name].build(evidence)


def first(content, kind):
    return next(block for block in content.blocks if isinstance(block, kind))


def cells(table, row):
    return {column.title: cell for column, cell in zip(table.columns, row, strict=True)}


def under(table, attack):
    """Cells of the row of one attack by model."""
    return cells(table, next(row for row in table.rows if row[0].text == attack))


def one_attack(path, rows, spec=FIRST, **changes):
    """Evidence of one model with clean and one attack."""
    store = Store(path)
    add_run(store, MODELS[0], "clean", samples_of(0, "clean", 150))
    add_attack(store, 0, spec, rows, **{"eps": 2 / 255, **changes})
    return Evidence(store)


@pytest.mark.parametrize("name", ATTACK_SECTIONS)
def test_a_store_without_attacks_has_no_such_section(name, store):
    assert build(name, Evidence(store)) is None


@pytest.mark.parametrize("name", ATTACK_SECTIONS)
def test_a_store_with_attacks_has_the_section(name, evidence):
    assert build(name, evidence).blocks


@pytest.mark.parametrize("name", ATTACK_SECTIONS)
def test_many_models_fill_the_section_too(name, many):
    content = build(name, many)

    assert (content is None) == (name == "adversarial")


@pytest.mark.parametrize("name", ATTACK_SECTIONS)
def test_attacks_without_samples_break_no_section(name, tmp_path):
    store = Store(tmp_path)
    found = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    attack = {"family": "attack", "norm": "linf", "eps": 2 / 255}
    add_run(store, "m", auto(0), metrics={"accuracy": found}, **attack)

    assert (build(name, Evidence(store)) is None) == (name not in ("robust", "eps"))


@pytest.mark.parametrize("name", ATTACK_SECTIONS)
def test_attacks_without_any_image_break_no_section(name, tmp_path):
    content = build(name, one_attack(tmp_path, attacked(0, 2 / 255, MEMBERS).head(0)))

    assert content is None or content.lead


def test_every_figure_is_one_that_plotly_knows(evidence, many):
    contents = [build(name, known) for name in ATTACK_SECTIONS for known in (evidence, many)]
    figures = [
        figure
        for content in contents
        if content is not None
        for block in content.blocks
        if isinstance(block, Figures)
        for option in block.options
        for figure in option.figures
    ]
    for figure in figures:
        go.Figure(data=list(figure.data), layout=figure.layout)

    assert len(figures) > 40


def test_every_option_fills_every_panel_and_every_row_every_column(evidence):
    blocks = [block for name in ATTACK_SECTIONS for block in build(name, evidence).blocks]

    assert all(
        block.panels == len(option.figures)
        for block in blocks
        if isinstance(block, Figures)
        for option in block.options
    )
    assert all(
        len(block.columns) == len(row)
        for block in blocks
        if isinstance(block, Table)
        for row in block.rows
    )


def test_the_robust_table_has_the_accuracy_with_its_interval(tmp_path):
    rows = attacked(0, 2 / 255, MEMBERS)
    table = first(build("robust", one_attack(tmp_path, rows)), Table)
    cell = under(table, "AutoAttack Linf 2/255")[MODELS[0]]

    assert pytest.approx(rows["correct"].mean()) == cell.order
    assert re.fullmatch(r"\[[\d.]+,.[\d.]+\]", cell.detail)


def test_a_row_of_the_robust_table_tells_the_whole_condition(evidence):
    table = first(build("robust", evidence), Table)

    assert auto(2) == under(table, "AutoAttack Linf 8/255")["Attack"].about


def test_few_models_stand_beside_each_other_with_a_row_an_attack(evidence):
    table = first(build("robust", evidence), Table)

    assert ["Attack", *sorted(MODELS)] == sorted(column.title for column in table.columns)
    assert ["Clean", "AutoAttack Linf 2/255"] == [row[0].text for row in table.rows[:2]]


def test_many_models_have_a_row_each(many):
    table = first(build("robust", many), Table)

    assert (9, "Model") == (len(table.rows), table.columns[0].title)


def test_models_are_listed_most_robust_first(evidence):
    table = first(build("robust", evidence), Table)
    values = [cell.order for cell in list(under(table, "AutoAttack Linf 8/255").values())[1:]]

    assert sorted(values, reverse=True) == values


def test_a_flag_that_doubts_a_number_stands_below_it(evidence):
    table = first(build("robust", evidence), Table)
    flagged = [
        (model, row[0].text)
        for row in table.rows
        for model, cell in cells(table, row).items()
        if "zero_gradients" in cell.detail
    ]

    assert [(MODELS[1], "AutoAttack Linf 8/255")] == flagged


def test_an_attack_without_a_radius_shows_its_median_norm_and_no_accuracy(evidence):
    tables = [b for b in build("robust", evidence).blocks if isinstance(b, Table)]
    titles = [[row[0].text for row in table.rows] for table in tables]

    assert ([False, True], ["FMN Linf smallest norm"]) == (
        ["FMN Linf smallest norm" in listed for listed in titles],
        titles[1],
    )


def test_the_median_norm_is_that_of_images_that_are_right_when_clean(tmp_path):
    norms = [0.0, 0.0, 0.0, 0.1, 0.2, float("nan")]
    rows = smallest(0).head(6).with_columns(norm=pl.Series(norms))
    known = one_attack(tmp_path, rows, FMN, eps=None)
    cell = under(first(build("robust", known), Table), "FMN Linf smallest norm")[MODELS[0]]

    assert (0.2, "51.0/255") == (cell.order, cell.text)
    assert "3 images, 1 stand" == cell.detail.splitlines()[1]


def test_a_model_without_the_attack_is_not_measured_and_not_zero(tmp_path):
    known = one_attack(tmp_path, attacked(0, 2 / 255, MEMBERS))
    add_attack(known.store, 1, auto(1), attacked(1, 4 / 255, MEMBERS), eps=4 / 255)
    table = first(build("robust", Evidence(known.store)), Table)
    cell = under(table, "AutoAttack Linf 2/255")[MODELS[1]]

    assert ("not measured", None) == (cell.text, cell.order)


def test_the_curve_over_eps_never_rises_and_starts_clean(evidence):
    figure = first(build("eps", evidence), Figures).options[0].figures[0]
    curves = [trace for trace in figure.data if "name" in trace]

    assert all(trace["x"] == [0.0, 2 / 255, 4 / 255, 8 / 255] for trace in curves)
    assert all(trace["y"] == sorted(trace["y"], reverse=True) for trace in curves)


def test_each_attack_has_its_own_curves(evidence):
    options = first(build("eps", evidence), Figures).options

    assert {
        "AutoAttack Linf",
        "PGD-40 Linf",
        "PGD-40 (loss=margin) Linf",
        "PGD-40 + Square from timm:resnet50@1a2b3c4d Linf",
        "FMN Linf, read off the norms",
    } == {option.label for option in options}


def test_radii_are_written_in_255ths_under_the_axis(evidence):
    figure = first(build("eps", evidence), Figures).options[0].figures[0]

    assert ["0", "2", "4", "8"] == figure.layout["xaxis"]["ticktext"]


def test_the_bars_of_a_waterfall_say_shares_without_a_minus(evidence):
    bar = first(build("stages", evidence), Figures).options[0].figures[0].data[0]

    assert [f"{100 * share:.1f}\N{NO-BREAK SPACE}%" for share in bar["x"]] == bar["text"]


def test_the_confusion_sentence_counts_only_what_was_right_when_clean(tmp_path):
    rows = attacked(0, 2 / 255, MEMBERS).head(6)
    rows = rows.with_columns(
        label=pl.Series([3] * 6),
        prediction=pl.Series([5, 5, 5, 9, 9, 3]),
        broken_by=pl.Series(["clean"] * 3 + ["square"] * 2 + [None]),
    )
    lead = build("confusion", one_attack(tmp_path, rows)).lead

    assert "takes class 3 for 9: 2 of 3 images of that class that were right when clean." in lead


def test_sections_without_a_measurement_come_last(tmp_path):
    page = build_page(one_attack(tmp_path, attacked(0, 2 / 255, MEMBERS)).store, tmp_path / "p")
    names = re.findall(r'<section id="([^"]*)"', page.read_text(encoding="utf-8"))

    assert ["summary", "robust"] == names[:2]
    assert ["noise", "corruptions", "severity", "calibration-shift"] == names[-4:]


def test_the_summary_of_a_page_of_attacks_has_no_empty_columns(tmp_path):
    known = one_attack(tmp_path, attacked(0, 2 / 255, MEMBERS))
    table = first(build("summary", known), Table)

    assert "Noise curve area" not in [column.title for column in table.columns]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_waterfall_ends_at_the_robust_accuracy(evidence):
    option = first(build("stages", evidence), Figures).options[0]
    accuracies = [
        member.subject.estimate(auto(2), "accuracy").value
        for member in evidence.settings[0].members
    ]

    assert pytest.approx(accuracies) == [figure.data[0]["x"][-1] for figure in option.figures]


def test_the_bars_of_a_waterfall_hang_together(evidence):
    bar = first(build("stages", evidence), Figures).options[0].figures[0].data[0]
    tops = [1.0, *bar["base"][:-2]]

    assert pytest.approx(tops) == [
        base + taken for base, taken in zip(bar["base"][:-1], bar["x"][:-1], strict=True)
    ]
    assert (0.0, pytest.approx(bar["base"][-2])) == (bar["base"][-1], bar["x"][-1])


def test_single_attacks_have_no_stages(evidence):
    labels = [option.label for option in first(build("stages", evidence), Figures).options]

    assert "PGD-40 Linf 8/255" not in labels and "AutoAttack Linf 8/255" == labels[0]


def test_the_gallery_shows_classes_norm_and_the_three_files(evidence, attacks):
    gallery = first(build("adversarial", evidence), Gallery)
    subject = evidence.settings[0].members[0].subject
    row = attacks.pictures(subject.runs[auto(2)]).row(0, named=True)
    card = gallery.cards[0]

    assert f"True class {row['label']}" == card.title
    assert [row["clean"], row["difference"], row["perturbed"]] == [p.png for p in card.pictures]
    assert [
        f"said {row['label']} (",
        f"{255 * row['norm']:.1f}/255",
        f"said {row['prediction']} (",
    ] == [re.match(r"said \d+ \(|.*", picture.text)[0] for picture in card.pictures]


def test_the_pictures_together_stay_below_a_size(evidence, monkeypatch):
    whole = sum(len(b.cards) for b in build("adversarial", evidence).blocks if b.kind == "gallery")
    monkeypatch.setattr(adversarial, "MOST_BYTES", 3000)
    less = build("adversarial", evidence)
    shown = [c for b in less.blocks if isinstance(b, Gallery) for c in b.cards]

    assert sum(len(p.png) for card in shown for p in card.pictures) <= 3000
    assert 0 < len(shown) < whole


def test_pictures_are_in_the_page_itself(attacks, tmp_path):
    text = build_page(attacks, tmp_path).read_text(encoding="utf-8")
    sources = re.findall(r'<img src="([^"]*)"', text)

    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)


def test_large_pictures_are_smoothed_and_small_ones_are_not(evidence):
    rows = attacked(0, 8 / 255, MEMBERS)
    small, large = (pictures(rows, side)["clean"][0] for side in (32, 224))
    card = first(build("adversarial", evidence), Gallery).cards[0]

    assert [True, False] == [type(card.pictures[0])(png, "", "").small for png in (small, large)]


def test_confidence_is_averaged_over_wrong_and_over_right_images(tmp_path):
    rows = attacked(0, 2 / 255, MEMBERS)
    option = first(build("attack-confidence", one_attack(tmp_path, rows)), Figures).options[0]
    means = [figure.data[-1]["y"][-1] for figure in option.figures]

    assert pytest.approx(means) == [
        rows.filter(~pl.col("correct"))["confidence"].mean(),
        rows.filter(pl.col("correct"))["confidence"].mean(),
    ]


def test_an_attack_without_a_radius_has_no_confidence_over_eps(tmp_path):
    known = one_attack(tmp_path, smallest(0), FMN, eps=None)

    assert build("attack-confidence", known) is None


def test_few_classes_have_a_map_whose_rows_sum_to_one(evidence):
    option = first(build("confusion", evidence), Figures).options[0]

    assert all(
        pytest.approx(1) == sum(row) for figure in option.figures for row in figure.data[0]["z"]
    )


def test_many_classes_have_a_table_of_the_top_confusions(tmp_path):
    rows = attacked(0, 2 / 255, MEMBERS).with_columns(pl.col("prediction") + 50)
    table = first(build("confusion", one_attack(tmp_path, rows)), Table)
    shares = [row[3].order for row in table.rows]

    assert 0 < len(shares) <= 15 and all(0 < share <= 1 for share in shares)


def test_the_cost_table_sums_evaluations_and_says_the_share_of_the_budget(tmp_path):
    rows = attacked(2, 2 / 255, MEMBERS)
    table = first(build("cost", one_attack(tmp_path, rows)), Table)
    row = cells(table, table.rows[0])
    total = rows["forward_evals"].sum()

    assert total == row["Evaluations"].order
    assert pytest.approx(total / (150 * sum(MEMBERS.values()))) == row["Of the full budget"].order


def test_a_budget_that_nobody_spent_is_unknown_and_not_zero(tmp_path):
    rows = attacked(0, 2 / 255, MEMBERS).filter(~pl.col("correct"), pl.col("norm") == 0)
    table = first(build("cost", one_attack(tmp_path, rows)), Table)
    cell = cells(table, table.rows[0])["Of the full budget"]

    assert ("unknown", None) == (cell.text, cell.order)


def test_a_histogram_has_every_image(evidence):
    option = first(build("cost", evidence), Figures).options[0]

    assert all(pytest.approx(1) == sum(trace["y"]) for trace in option.figures[0].data)


def test_the_axis_of_evaluations_is_logarithmic_and_holds_them_all(evidence):
    figure = first(build("cost", evidence), Figures).options[0].figures[0]
    axis = figure.layout["xaxis"]
    places = [place for trace in figure.data for place in trace["x"]]

    assert "log" == axis["type"]
    assert [min(places), max(places)] == pytest.approx([10**end for end in axis["range"]])


def test_the_summary_has_the_robust_accuracy_only_where_there_are_attacks(evidence, store):
    titles = [
        [column.title for column in first(build("summary", known), Table).columns]
        for known in (evidence, Evidence(store))
    ]

    head = "Robust accuracy, AutoAttack Linf 8/255"
    assert [True, False] == [head in listed for listed in titles]


def test_other_conditions_are_without_attacks(evidence):
    table = first(build("others", evidence), Table)

    assert {"common11"} == {cells(table, row)["Condition"].text for row in table.rows}


def test_terms_of_attacks_are_explained_only_where_there_are_attacks(evidence, store):
    terms = [
        dict(first(build("reading", known), Definitions).entries)
        for known in (evidence, Evidence(store))
    ]

    assert [True, False] == ["Robust accuracy" in found for found in terms]


def test_a_raised_flag_is_explained_in_words(evidence):
    entries = dict(first(build("problems", evidence), Definitions).entries)

    assert "gradients are probably masked" in entries["black_box_stronger"]


def test_flags_that_doubt_a_number_are_known_and_say_so():
    assert TOO_HIGH <= set(FLAGS)
    assert all(re.search(r"too high|upper bound", FLAGS[flag]) for flag in TOO_HIGH)


def test_long_names_may_break_and_radii_may_not(attacks, tmp_path):
    text = build_page(attacks, tmp_path).read_text(encoding="utf-8")

    assert "AutoAttack Linf 8/255" in text and "timm:<wbr>resnet" in text
    assert "8/<wbr>255" not in text
