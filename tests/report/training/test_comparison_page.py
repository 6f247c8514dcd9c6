"""Several trainings on one page: what is compared, and with what."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.report.training import write_comparison_page
from report.training.make_training import RECIPE, make_folder, make_rows, make_training
from report.training.test_training_page import figures_of, percents, rows_of, without_script


def of_kind(kind, **changes):
    return make_training(recipe={**RECIPE, "protocol": {"kind": kind}}, **changes)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("several")
    probe = of_kind("linear_probe", best_epoch=10.0, seconds=100.0)
    rows = [
        {name: value for name, value in row.items() if name != "loss"}
        for row in make_rows(height=-0.2)
    ]
    make_folder(place / "lp", training=probe, rows=rows, shares=(0.1, 0.1, 0.1, 0.1))
    make_folder(place / "ft", training=of_kind("full", flags=("diverged",)))
    return [place / "lp", place / "ft"]


@pytest.fixture(scope="module")
def text(folders, tmp_path_factory):
    target = tmp_path_factory.mktemp("page") / "new" / "folder"
    page = write_comparison_page(folders, target)
    assert target / "page.html" == page
    return page.read_text(encoding="utf-8")


def test_a_row_a_training_at_its_best_epoch(text):
    probe, full = make_rows(height=-0.2)[10], make_rows()[8]
    objective = "trades(attack=pgd(eps=4/255), beta=6)"
    found = rows_of(text, "comparison-table")

    assert ["lp", "a linear probe"] == found[0][:2]
    assert ["ft", "full fine-tuning"] == found[1][:2]
    assert [objective] * 2 == [row[2] for row in found]
    for row, wanted in zip(found, (probe, full), strict=True):
        assert percents(wanted["validation_accuracy"], 500) == row[4]
        assert percents(wanted["validation_robust"], 500) == row[5]
    assert [["2 min", "finished"], ["6 min", "finished"]] == [row[6:] for row in found]


def test_a_training_has_one_color_in_all_figures(text):
    figures = figures_of(text)
    colors = [
        {trace["name"]: trace["line"]["color"] for trace in figure["data"] if "name" in trace}
        for figure in figures
    ]

    assert 3 == len(figures)
    assert ["lp", "ft"] == list(colors[0]) == list(colors[1])
    assert colors[0] == colors[1]
    # The probe has no loss; the other keeps its color all the same.
    assert [colors[0]["ft"]] == list(colors[2].values())
    for figure in figures:
        go.Figure(figure)


def test_measured_accuracies_are_told_with_their_paired_difference_from_the_first(text):
    rows = rows_of(text, "measured-table-0")

    assert 4 == len(rows)
    for _, first, second in rows:
        assert "points" not in first
        gained = float(second.split()[0]) - float(first.split()[0])
        told = re.search(r"([+\N{MINUS SIGN}]?[\d.]+) points \[", second)[1]
        assert gained == pytest.approx(float(told.replace("\N{MINUS SIGN}", "-")), abs=0.11)
    assert len(rows) == len(rows_of(text, "calibration-table-0"))


def test_doubts_name_the_training(text):
    assert re.search('role="alert">ft: The training diverged', text)
    assert "lp: " not in without_script(text)


def test_trainings_that_cannot_be_compared_are_told_so(folders, tmp_path):
    other = make_training(data_fingerprint="00", score="accuracy")
    make_folder(tmp_path / "lp", training=other)
    text = write_comparison_page([*folders, tmp_path / "lp"], tmp_path).read_text(encoding="utf-8")
    names = [row[0] for row in rows_of(text, "comparison-table")]

    assert "They did not all learn from the same images." in text
    assert "chosen by different scores" in text
    assert 3 == len(set(names))
    assert all(name.endswith(("/lp", "/ft")) for name in names)


def test_robust_accuracy_that_nobody_measured_has_no_column(tmp_path):
    rows = [{k: v for k, v in row.items() if "rob" not in k} for row in make_rows()]
    for name in "ab":
        make_folder(tmp_path / name, training=make_training(score="accuracy"), rows=rows)
    page = write_comparison_page([tmp_path / "a", tmp_path / "b"], tmp_path / "page")
    text = page.read_text(encoding="utf-8")

    assert [7, 7] == [len(row) for row in rows_of(text, "comparison-table")]
    assert "Robust accuracy" not in without_script(text)


def test_one_training_is_no_comparison(folders, tmp_path):
    with pytest.raises(BadValueError, match="two trainings or more, got 1"):
        write_comparison_page(folders[:1], tmp_path)
    with pytest.raises(BadValueError, match="named twice"):
        write_comparison_page([folders[0], folders[0]], tmp_path)
    with pytest.raises(MissingError, match="holdfast train run"):
        write_comparison_page([folders[0], tmp_path], tmp_path)


def test_a_place_that_cannot_be_written_is_named(folders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="another folder"):
        write_comparison_page(folders, tmp_path / "file" / "below")
