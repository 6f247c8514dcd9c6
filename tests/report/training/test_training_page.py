"""The page of a training says what its folder says."""

from __future__ import annotations

import json
import math
import re
import subprocess
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from holdfast.core.errors import BadValueError, MissingError
from holdfast.metrics.accuracy import wilson
from holdfast.records import Store
from holdfast.records.trainings import AFTER, BEFORE, TRAINING_FLAGS, add_curve, write_training
from holdfast.report import numbers
from holdfast.report.training import write_training_page
from report.make_store import add_run, samples_of
from report.training.make_training import (
    ATTACK,
    CONDITIONS,
    RECIPE,
    make_folder,
    make_rows,
    make_training,
)

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
    "--dump-dom",
)
SCRIPT = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)


def text_of(folder):
    return write_training_page(folder).read_text(encoding="utf-8")


def figures_of(text):
    return [
        figure
        for block in SCRIPT.findall(text)
        for option in json.loads(block)
        for figure in option
    ]


def without_script(text):
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def rows_of(text, table):
    """Texts of the cells of a table, a list a row."""
    body = re.search(rf'<table id="{table}".*?<tbody>(.*?)</tbody>', text, re.DOTALL)[1]
    return [
        [
            re.sub(r"<[^>]*>|\s+", " ", cell.replace("<wbr>", ""))
            .strip()
            .replace(numbers.NO_BREAK, " ")
            for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    ]


def percents(value, count):
    low, high = wilson(round(value * count), count)
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def text(folder):
    return text_of(folder)


def test_the_head_says_what_was_trained_on_what_and_how(text):
    assert "<h1>cnn_a trained on digits</h1>" in text
    assert "Full fine-tuning with trades(attack=pgd(eps=4/255), beta=6)" in text
    assert "9,000 images of ten classes; 10 epochs in 6 min." in text
    assert 'role="alert"' not in text
    assert 'class="notice"' not in re.sub("<noscript>.*?</noscript>", "", text)


def test_the_result_is_before_best_and_last_with_wilson_intervals(text):
    wanted = [
        [title, str(epoch)]
        + [percents(rows[epoch][f"validation_{kind}"], 500) for kind in ("accuracy", "robust")]
        + ["500"]
        for rows in [make_rows()]
        for title, epoch in (("Before the training", 0), ("Best epoch", 8), ("Last epoch", 10))
    ]

    assert wanted == rows_of(text, "result-table")
    assert f"highest robust accuracy under {ATTACK} on these very images" in text


def test_accuracies_are_drawn_over_the_epochs_with_bands(text):
    traces = figures_of(text)[0]["data"]
    drawn = {trace["name"]: trace for trace in traces if "name" in trace}
    rows = make_rows()

    assert 4 == sum(trace.get("fill") == "toself" for trace in traces)
    for name, column in (
        ("clean, validation", "validation_accuracy"),
        ("robust, validation", "validation_robust"),
        ("clean, training", "train_accuracy"),
        ("robust, training", "train_robust"),
    ):
        assert [row[column] for row in rows] == pytest.approx(drawn[name]["y"])
        assert [row["epoch"] for row in rows] == drawn[name]["x"]


def test_the_band_of_training_images_rests_on_their_own_count(text):
    band = figures_of(text)[0]["data"][2]
    share = make_rows()[0]["train_accuracy"]

    assert wilson(round(256 * share), 256).high == pytest.approx(band["y"][0])


def test_loss_gradient_rate_and_radius_have_a_figure_each(text):
    titles = [figure["layout"]["yaxis"]["title"]["text"] for figure in figures_of(text)[1:]]
    rows = make_rows()[1:]

    assert ["Training loss", "Gradient norm", "Learning rate", "Part of the radius"] == titles
    for figure, column in zip(
        figures_of(text)[1:],
        ("loss", "gradient_norm", "learning_rate", "radius_factor"),
        strict=True,
    ):
        assert [row[column] for row in rows] == pytest.approx(figure["data"][0]["y"])


def test_the_best_epoch_is_marked_in_every_figure(text):
    assert [[8.0]] * 5 == [
        [shape["x0"] for shape in figure["layout"]["shapes"]] for figure in figures_of(text)
    ]


def test_the_end_of_the_linear_probe_is_marked_too(tmp_path):
    recipe = {**RECIPE, "protocol": {"kind": "lp_ft", "probe_epochs": 3}}
    text = text_of(make_folder(tmp_path, training=make_training(recipe=recipe)))

    assert [8.0, 3.0] == [shape["x0"] for shape in figures_of(text)[0]["layout"]["shapes"]]
    assert "at the dashed line (3) the rest of the network began to learn" in text


def test_every_figure_is_one_that_plotly_knows_and_none_is_empty(text):
    for figure in figures_of(text):
        go.Figure(figure)
        assert all(trace["y"] for trace in figure["data"])


def test_what_was_not_measured_has_neither_column_nor_curve(tmp_path):
    rows = [{k: v for k, v in row.items() if "rob" not in k} for row in make_rows()]
    training = make_training(score="accuracy", best_epoch=None, best_score=None)
    text = text_of(make_folder(tmp_path, training=training, rows=rows))

    assert ["Before the training", "Last epoch"] == [
        row[0] for row in rows_of(text, "result-table")
    ]
    assert [4, 4] == [len(row) for row in rows_of(text, "result-table")]
    names = [trace["name"] for trace in figures_of(text)[0]["data"] if "name" in trace]
    assert ["clean, validation", "clean, training"] == names
    assert "Best epoch" not in without_script(text)


def test_measured_conditions_show_both_networks_and_their_paired_difference(text):
    table = {row[0]: row[1:] for row in rows_of(text, "measured-table-0")}

    assert ["clean", "Gaussian noise, sigma 0.1", "fog, severity 3", "contrast, severity 5"] == (
        list(table)
    )
    before = samples_of(2, "clean", 200)["correct"].mean()
    assert percents(before, 200) == table["clean"][0]
    for old, new, difference, count in table.values():
        gained = float(new.split()[0]) - float(old.split()[0])
        assert math.isclose(
            gained, float(difference.split()[0].replace("\N{MINUS SIGN}", "-")), abs_tol=0.11
        )
        assert "200" == count
    assert "0.0 points" in table["fog, severity 3"][2]
    assert "accuracy rose under three and fell under none; for one the interval" in text


def test_calibration_is_told_for_both(text):
    rows = rows_of(text, "calibration-table-0")

    assert len(CONDITIONS) == len(rows)
    assert all("%" in cell for row in rows for cell in row[1:])


def test_a_condition_measured_once_has_no_difference(tmp_path):
    make_folder(tmp_path)
    samples = samples_of(2, "fog(severity=5)", 200)
    add_run(
        Store(tmp_path / "store"),
        BEFORE,
        "fog(severity=5)",
        samples,
        flags=("zero_gradients",),
    )
    text = text_of(tmp_path)
    rows = {row[0]: row[1:] for row in rows_of(text, "measured-table-0")}

    assert ["not measured", "not measured", "200"] == rows["fog, severity 5"][1:]
    assert "Gradients of the loss were zero" in text
    assert "Of four conditions" in text


def test_where_only_the_trained_network_was_measured_nothing_is_compared(tmp_path):
    write_training(tmp_path, make_training())
    for row in make_rows():
        add_curve(tmp_path, row)
    add_run(
        Store(tmp_path / "store"),
        AFTER,
        "clean",
        samples_of(2, "clean", 200),
        weights_digest="aa" * 32,
    )
    rows = rows_of(text_of(tmp_path), "measured-table-0")

    assert [3] == [len(row) for row in rows]
    assert "200" == rows[0][-1]


def test_weights_of_an_earlier_session_do_not_stand_for_the_kept_ones(tmp_path):
    make_folder(tmp_path)
    worthless = samples_of(2, "clean", 200).with_columns(correct=False)
    for digest in ("00" * 32, "ff" * 32):
        add_run(Store(tmp_path / "store"), "after", "clean", worthless, weights_digest=digest)
    table = {row[0]: row[1:] for row in rows_of(text_of(tmp_path), "measured-table-0")}

    assert "0.0 %" not in table["clean"][1]


def test_without_a_store_the_section_is_left_out(tmp_path):
    write_training(tmp_path, make_training())
    add_curve(tmp_path, make_rows()[0])

    assert "Measured robustness" not in without_script(text_of(tmp_path))


def test_fields_that_are_not_the_default_are_marked(text):
    rows = rows_of(text, "recipe-table")

    assert {"train.objective", "augment", "model.name"} == {r[0] for r in rows if r[2]}
    assert 17 == len(rows)
    assert ["augment", "[flip, crop(padding=4)]", "chosen"] in rows
    assert ["protocol.probe_epochs", "null", ""] in rows


def test_provenance_is_complete(text):
    for told in (
        "holdfast train run recipe.yaml --out here",
        "torch 2.15.0",
        "cores 2",
        "d1" * 32,
        "fe" * 32,
        "aa" * 32,
        "710 steps",
        "6 min (500 ms a step)",
        "2026-11-27T02:58:42+00:00",
    ):
        assert told in text
    assert "Resumed" not in without_script(text)


@pytest.mark.parametrize("flag", sorted(TRAINING_FLAGS))
def test_a_flag_of_the_training_is_an_alert(tmp_path, flag):
    write_training(tmp_path, make_training(flags=(flag,)))
    alert = re.search('role="alert">(.*?)</p>', text_of(tmp_path), re.DOTALL)

    assert TRAINING_FLAGS[flag] == alert[1]


def test_a_failure_before_the_first_measurement_still_has_a_page(tmp_path):
    failed = make_training(
        status="failed", reason="No loss & no hope.", best_epoch=None, steps=0, epochs=0, resumed=2
    )
    write_training(tmp_path, failed)
    text = text_of(tmp_path)

    assert 'role="alert">The training failed. No loss &amp; no hope.</p>' in text
    assert "Nothing was measured on validation images." in text
    assert [] == figures_of(text)
    assert "0 of 10 epochs" in text
    assert "<dt>Resumed</dt><dd>two times</dd>" in text


@pytest.mark.parametrize(
    ("status", "told"),
    [("stopped", "stopped early. Why"), ("interrupted", "resume"), ("running", "still running")],
)
def test_an_end_before_the_plan_is_told_but_is_no_alert(tmp_path, status, told):
    write_training(tmp_path, make_training(status=status, reason="Why.", notes=("A <note>.",)))
    text = text_of(tmp_path)
    notices = re.findall(
        '<p class="notice">([^<]*)</p>', re.sub("<noscript.*?</noscript>", "", text)
    )

    assert told in notices[0]
    assert "A &lt;note&gt;." == notices[1]
    assert 'role="alert"' not in text


def test_names_that_a_person_wrote_are_escaped(tmp_path):
    nasty = make_training(model="<b>&", data="</script><script>alert(1)")
    text = text_of(make_folder(tmp_path, training=nasty))

    assert "<b>&" not in without_script(text)
    assert "<script>alert(1)" not in text


def test_the_page_asks_for_nothing_from_a_network(text):
    assert "default-src 'none'" in text
    assert [] == re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', without_script(text))


def test_a_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(MissingError, match="holdfast train run"):
        write_training_page(tmp_path)


def test_a_damaged_folder_is_refused(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BadValueError, match=r"run\.json"):
        write_training_page(tmp_path)
    write_training(tmp_path, replace(make_training()))
    (tmp_path / "curves.jsonl").write_text("{}\n")
    with pytest.raises(BadValueError, match=r"curves\.jsonl"):
        write_training_page(tmp_path)


@pytest.mark.slow
def test_a_browser_draws_every_figure_and_nothing_sticks_out(chromium, folder, tmp_path):
    probe = """<script>
      const note = document.createElement("pre");
      note.id = "seen"; note.textContent = JSON.stringify({
        plots: document.querySelectorAll(".plot").length,
        drawn: document.querySelectorAll(".plot .main-svg .scatterlayer .trace").length,
        width: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      });
      document.body.append(note);
    </script></body>"""
    page = tmp_path / "probed.html"
    page.write_text(text_of(folder).replace("</body>", probe), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [chromium, *QUIET, profile, page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = json.loads(re.search('<pre id="seen">(.*?)</pre>', found.stdout)[1])

    assert {"plots": 5, "drawn": 12, "width": 0} == seen
