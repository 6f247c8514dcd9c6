"""What a training leaves is read as it was written, and anything else is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from holdfast.core.errors import BadTypeError, BadValueError, MissingError, StoreError
from holdfast.records.trainings import (
    CURVE_COLUMNS,
    CURVES_FILE,
    FRACTIONS,
    Training,
    add_curve,
    cut_curves,
    read_curves,
    read_training,
    summary,
    write_training,
)

WHOLE = {
    "digest": "d1",
    "recipe": {"data": {"name": "digits", "size": None}, "augment": ["flip"], "seed": 0},
    "changed": ("data.name",),
    "status": "stopped",
    "reason": "No better score in 3 measurements.",
    "model": "cnn_a",
    "data": "digits",
    "classes": 10,
    "images": 90,
    "validation_images": 10,
    "steps": 20,
    "epochs": 2.5,
    "seconds": 3.25,
    "best_epoch": 2.0,
    "best_score": 0.5,
    "score": "robust accuracy under pgd(eps=2/255)",
    "flags": ("diverged",),
    "notes": ("A note.",),
    "command": "holdfast train run r.yaml --out here",
    "version": "0.3",
    "started": "2026-01-01T00:00:00+00:00",
    "versions": {"torch": "2.15"},
    "machine": {"system": "Linux", "cores": 2},
    "weights_digest": "aa",
    "data_fingerprint": "fe",
    "start_digest": "5d",
    "resumed": 1,
}


@pytest.fixture
def training():
    return Training(**WHOLE)


def row_of(epoch, **more):
    return {"epoch": epoch, "step": int(10 * epoch), **more}


def accuracy_at(epoch, accuracy, robust=None):
    return row_of(
        epoch, validation_accuracy=accuracy, validation_robust=robust, validation_n=10, seconds=1
    )


def steps_in(folder):
    return read_curves(folder)["step"].to_list()


def test_a_training_is_read_as_it_was_written(tmp_path, training):
    folder = write_training(tmp_path / "new" / "out", training)

    assert training == read_training(folder)
    assert ["run.json"] == [path.name for path in folder.iterdir()]


def test_every_field_is_in_the_file_also_those_that_say_nothing(tmp_path):
    needed = ("digest", "recipe", "status", "model", "data", "classes", "images")
    short = {name: WHOLE[name] for name in (*needed, "validation_images", "score")}
    write_training(tmp_path, Training(**short))

    assert set(WHOLE) == json.loads((tmp_path / "run.json").read_text()).keys()
    assert read_training(tmp_path).best_score is None


def test_a_later_state_takes_the_place_of_an_earlier_one(tmp_path, training):
    write_training(tmp_path, replace(training, status="running"))
    write_training(tmp_path, training)

    assert "stopped" == read_training(tmp_path).status


def test_a_folder_without_a_training_says_what_writes_one(tmp_path):
    with pytest.raises(MissingError, match="holdfast train run --out"):
        read_training(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "<html>", '{"digest": "x"}'])
def test_a_file_that_says_something_else_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadValueError, match=r"run\.json is not what"):
        read_training(tmp_path)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_file_that_lacks_a_field_is_refused(tmp_path, training, name):
    path = write_training(tmp_path, training) / "run.json"
    body = json.loads(path.read_text())
    del body[name]
    path.write_text(json.dumps(body))
    with pytest.raises(BadValueError, match=rf"run\.json .*missing: {name}"):
        read_training(tmp_path)


def test_a_field_that_nobody_knows_is_refused(tmp_path, training):
    path = write_training(tmp_path, training) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1}))
    with pytest.raises(BadValueError, match="colour"):
        read_training(tmp_path)


@pytest.mark.parametrize("change", [{"status": "done"}, {"best_score": math.nan}, {"colour": 1}])
def test_a_training_that_cannot_be_is_not_made(change):
    with pytest.raises(ValidationError):
        Training(**{**WHOLE, **change})


def test_a_row_of_curves_is_read_as_it_was_written(tmp_path):
    row = dict.fromkeys(CURVE_COLUMNS, 0.25) | {"step": 7, "train_n": 8, "validation_n": 9}
    add_curve(tmp_path / "new", row)
    found = read_curves(tmp_path / "new")

    assert CURVE_COLUMNS == dict(found.schema)
    assert [row] == found.to_dicts()


def test_what_was_not_measured_is_null_and_not_zero(tmp_path):
    add_curve(tmp_path, row_of(0, loss=math.nan, gradient_norm=math.inf, train_robust=None))
    line = (tmp_path / CURVES_FILE).read_text()
    found = read_curves(tmp_path).to_dicts()[0]

    assert None is json.loads(line, parse_constant=pytest.fail)["loss"]
    assert {"epoch", "step"} == {name for name, value in found.items() if value is not None}


def test_numbers_of_numpy_are_numbers(tmp_path):
    add_curve(tmp_path, row_of(np.float32(0.5), loss=np.float32(0.25), train_n=np.int64(3)))

    assert (0.5, 5, 0.25, 3) == read_curves(tmp_path).select(
        "epoch", "step", "loss", "train_n"
    ).row(0)


def test_curves_of_no_measurement_are_empty(tmp_path):
    assert 0 == len(read_curves(tmp_path))
    assert CURVE_COLUMNS == dict(read_curves(tmp_path).schema)
    cut_curves(tmp_path, 3)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("row", "error", "told"),
    [
        (row_of(1, los=2), BadValueError, "los"),
        ({"epoch": 1}, BadValueError, "step"),
        ({"epoch": math.nan, "step": 1}, BadValueError, "epoch"),
        ({"epoch": 1, "step": 1.5}, BadValueError, "step"),
        ({"epoch": 1, "step": -1}, BadValueError, "step"),
        (row_of(1, loss="low"), BadTypeError, "loss"),
        *[(row_of(1, **{name: 1.01}), BadValueError, name) for name in FRACTIONS],
        *[(row_of(1, **{name: -0.01}), BadValueError, name) for name in FRACTIONS],
    ],
)
def test_a_row_that_cannot_be_is_refused_and_leaves_no_trace(tmp_path, row, error, told):
    with pytest.raises(error, match=told):
        add_curve(tmp_path, row)
    assert not (tmp_path / CURVES_FILE).exists()


def test_cutting_keeps_what_was_measured_up_to_the_step(tmp_path):
    for epoch in range(4):
        add_curve(tmp_path, row_of(epoch))
    cut_curves(tmp_path, 20)

    assert [0, 10, 20] == steps_in(tmp_path)
    cut_curves(tmp_path, 19)
    assert [0, 10] == steps_in(tmp_path)


def test_a_line_that_a_kill_left_unfinished_is_not_read_and_goes(tmp_path):
    """Whatever part of its bytes reached the disk."""
    path = tmp_path / CURVES_FILE
    add_curve(tmp_path, row_of(0))
    first = path.read_bytes()
    add_curve(tmp_path, row_of(1))
    both = path.read_bytes()
    for length in (len(first), len(first) + 1, len(both) - 20, len(both) - 1):
        path.write_bytes(both[:length])
        assert [0] == steps_in(tmp_path)
        cut_curves(tmp_path, 100)
        assert first == path.read_bytes()

        path.write_bytes(both[:length])
        add_curve(tmp_path, row_of(2))
        assert [0, 20] == steps_in(tmp_path)


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"epoch": 0, "step": 0}', "null", '{"epoch": 0, "step": 0, "los": 1}']
)
def test_a_line_that_says_something_else_is_refused_by_its_number(tmp_path, line):
    add_curve(tmp_path, row_of(0))
    path = tmp_path / CURVES_FILE
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(BadValueError, match=rf"line 2 of .*{CURVES_FILE}"):
        read_curves(tmp_path)


def test_a_value_that_was_tampered_with_is_refused(tmp_path):
    add_curve(tmp_path, row_of(0, train_accuracy=0.5))
    path = tmp_path / CURVES_FILE
    path.write_text(path.read_text().replace("0.5", "50"))
    with pytest.raises(BadValueError, match="train_accuracy"):
        read_curves(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        add_curve(tmp_path / "file", row_of(0))


def test_the_summary_is_before_best_and_last(tmp_path, training):
    write_training(tmp_path, training)
    add_curve(tmp_path, accuracy_at(0, 0.1, 0.0))
    add_curve(tmp_path, accuracy_at(1, 0.6, 0.2))
    add_curve(tmp_path, accuracy_at(2, 0.7, 0.5))
    add_curve(tmp_path, accuracy_at(2.5, 0.8, 0.4))
    add_curve(tmp_path, row_of(3, loss=1.0))

    assert [
        ("before", 0.0, 0.1, 0.0, 10),
        ("best", 2.0, 0.7, 0.5, 10),
        ("last", 2.5, 0.8, 0.4, 10),
    ] == summary(tmp_path)


def test_the_summary_leaves_out_what_was_not_measured(tmp_path, training):
    write_training(tmp_path, replace(training, best_epoch=None))
    assert [] == summary(tmp_path)
    add_curve(tmp_path, accuracy_at(0, 0.1))

    assert [("before", 0.0, 0.1, None, 10)] == summary(tmp_path)
