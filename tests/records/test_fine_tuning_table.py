"""The robust fine-tuning table."""

from __future__ import annotations

import polars as pl
import pytest

from holdfast.core.errors import BadValueError
from holdfast.records.fine_tuning_table import FINE_TUNING_COLUMNS, read_fine_tuning

ROW = {
    "": 0,
    "clean_acc": 0.9,
    "Linf_acc": 0.5,
    "L2_acc": 0.6,
    "L1_acc": 0.4,
    "common_acc": 0.8,
    "backbone": "net.in1k",
    "loss_function": "TRADES",
    "ft_strategy": "FFT (50 epochs)",
    "dataset": "pets",
    "model_size": "small",
    "model_type": "fully convolutional",
    "pre_training_strategy": "supervised",
    "pre_training_dataset": "in1k",
}


def write(folder, *rows):
    path = folder / "table.csv"
    pl.DataFrame([ROW | row for row in rows], infer_schema_length=None).write_csv(path)
    return path


def test_columns_and_labels_are_ours(tmp_path):
    frame = read_fine_tuning(write(tmp_path, {}, {"model_type": "hybrid", "dataset": "cars"}))

    assert list(FINE_TUNING_COLUMNS.items()) == list(frame.schema.items())
    assert ["convolutional", "hybrid"] == frame["kind"].to_list()
    assert {"FFT-50"} == set(frame["protocol"])
    assert [0.5, 0.5] == frame["linf"].to_list()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{}, {}], "two rows of net.in1k, TRADES, FFT .50 epochs., pets; keep one"),
        ([{"clean_acc": 90.0}], "row 2: clean_acc must be a fraction .* divide percent"),
        ([{"backbone": None}], "row 2: backbone is empty"),
        ([{"L2_acc": "high"}], "row 2: L2_acc must be a number, got 'high'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, rows, told):
    with pytest.raises(BadValueError, match=told):
        read_fine_tuning(write(tmp_path, *rows))


def test_other_columns_are_named(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("model,val\na,1\n")

    with pytest.raises(BadValueError, match=r"lacks the columns backbone, .* it has model, val"):
        read_fine_tuning(path)


@pytest.mark.shared
def test_the_published_table(shared):
    frame = read_fine_tuning(shared / "data/tables/robust_finetuning_1440.csv")

    assert 1440 == frame.height
    assert 40 == frame["backbone"].n_unique()
    assert {"FFT-50", "FFT-5", "LP-50"} == set(frame["protocol"])
    assert {"convolutional", "attention", "hybrid"} == set(frame["kind"])
    assert 0 == sum(frame.null_count().row(0))
