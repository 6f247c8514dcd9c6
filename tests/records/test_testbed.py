"""Tables in the layout of imagenet-testbed."""

from __future__ import annotations

import polars as pl
import pytest

from holdfast.core.errors import BadValueError, MissingError
from holdfast.records.testbed import read_attributes, read_testbed

HEAD = (
    "model,greyscale,imagenet-c.gaussian_noise.1_in-memory,imagenet-c.gaussian_noise.1_on-disk,"
    "imagenet-c.gaussian_noise.3_on-disk,imagenetv2-matched-frequency,pgd.linf.eps0.5,val,"
    "val-on-imagenet-a-classes"
)
ROWS = ("a,60,70.5,65,40,55,10,76,90", "b,,71,,41,56,11,77,91")


def table(folder, rows=ROWS, head=HEAD, encoding="utf-8"):
    path = folder / "t.csv"
    path.write_bytes("\n".join([head, *rows, ""]).encode(encoding))
    return path


def cells(found):
    return {
        (model, name, level, recording): value
        for model, name, level, recording, value in found.rows.iter_rows()
    }


def test_headings_say_corruption_severity_and_recording_and_percents_become_fractions(tmp_path):
    found = read_testbed(table(tmp_path))

    assert cells(found) == pytest.approx(
        {
            ("a", "greyscale", None, None): 0.6,
            ("a", "gaussian_noise", 1.0, "in-memory"): 0.705,
            ("b", "gaussian_noise", 1.0, "in-memory"): 0.71,
            ("a", "gaussian_noise", 1.0, "on-disk"): 0.65,
            ("a", "gaussian_noise", 3.0, "on-disk"): 0.4,
            ("b", "gaussian_noise", 3.0, "on-disk"): 0.41,
            ("a", "imagenetv2-matched-frequency", None, None): 0.55,
            ("b", "imagenetv2-matched-frequency", None, None): 0.56,
            ("a", "pgd.linf", 0.5, None): 0.1,
            ("b", "pgd.linf", 0.5, None): 0.11,
            ("a", "clean", 0.0, None): 0.76,
            ("b", "clean", 0.0, None): 0.77,
        }
    )
    assert found.flags == ()


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("val,fog.2,model,fog.1", ["80,60,a,70", "81,61,b,71"]),  # another order, no prefix
        (",model,fog.1,fog.2,val", ["0,a,70,60,80", "1,b,71,61,81"]),  # an index without a name
        ("model;fog.1;fog.2;val", ["a;70,0;60,0;80,0", "b;71,0;61,0;81,0"]),  # written in Europe
        ("model\tfog_1\tfog_2\tval", ["a\t70%\t60%\t80%", "b\t71\t61\t81"]),
        ("\ufeffModel,fog_s1,fog_s2,VAL", ["a,70,60,80", "b,71,61,81"]),  # a byte order mark
        (
            ",imagenet-c/fog/1,imagenet-c/fog/2,clean",
            ["a,70,60,80", "b,71,61,81"],
        ),  # index of names
    ],
)
def test_the_same_table_in_many_ways(tmp_path, head, rows):
    found = read_testbed(table(tmp_path, rows, head))

    assert cells(found) == {
        (model, name, level, None): pytest.approx(value)
        for model, more in (("a", 0), ("b", 0.01))
        for name, level, value in (
            ("fog", 1.0, 0.7 + more), ("fog", 2.0, 0.6 + more), ("clean", 0.0, 0.8 + more)
        )
    }  # fmt: skip


def test_fractions_are_told_from_percent(tmp_path):
    found = read_testbed(table(tmp_path, ["a,0.6,0.8", "b,0.5,0.7"], "model,fog.1,val"))

    assert sorted(cells(found).values()) == [0.5, 0.6, 0.7, 0.8]
    assert "fractions" in found.flags[0]


def test_texts_for_nothing_are_missing_and_wild_numbers_are_too(tmp_path):
    rows = ["a,nan,80", "b,NA,-", "c,null,70", *(f"m{one},50,60" for one in range(20))]
    found = read_testbed(table(tmp_path, [*rows, "wild,50,1000"], "model,fog.1,val"))

    assert ("a", "fog", 1.0, None) not in cells(found)
    assert ("wild", "clean", 0.0, None) not in cells(found)
    assert any("outside 0..100" in flag and "val" in flag for flag in found.flags)


def test_of_a_repeated_model_and_column_the_first_counts(tmp_path):
    rows = ["a,60,80,1", "a,61,81,2", ",62,82,3", "b,63,83,4"]
    found = read_testbed(table(tmp_path, rows, "model,fog.1,val,val"))

    assert cells(found)["a", "clean", 0.0, None] == 0.8
    assert cells(found)["b", "clean", 0.0, None] == pytest.approx(0.83)
    told = " ".join(found.flags)
    assert "columns that stand twice" in told
    assert "models that stand twice, of which the first row counts: a" in told
    assert "1 rows without a model's name" in told


def test_other_columns_are_attributes(tmp_path):
    head = "model,val,fog.1,params,stem_kernel,pool,flops"
    rows = ["a,80,70,25.5,7,max,4100", "b,81,71,86.6,16,none,17000"]
    found = read_testbed(table(tmp_path, rows, head))

    assert set(found.rows["test_set"]) == {"clean", "fog"}
    assert found.attributes.to_dicts() == [
        {"model": "a", "parameters": 25.5e6, "stem_kernel": 7, "pool": "max", "flops": 4100},
        {"model": "b", "parameters": 86.6e6, "stem_kernel": 16, "pool": "none", "flops": 17000},
    ]


@pytest.mark.parametrize(
    ("head", "rows", "told"),
    [
        ("", [], "nothing in it"),
        ("model,val", [], "no rows"),
        ("x,val", ["1,2"], "no column `model`"),
        ("model,pool", ["a,max"], "no column of accuracies"),
        ("model,val,fog.1", ["a,nan,"], "no accuracy of any"),
        ("model,val,fog.1", ["a,80"], "no row of 3 cells"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, head, rows, told):
    with pytest.raises(BadValueError, match=told):
        read_testbed(table(tmp_path, rows, head))


def test_a_ragged_row_is_left_out_and_flagged(tmp_path):
    found = read_testbed(table(tmp_path, ["a,80,70", "b,80", "c,81,71"], "model,val,fog.1"))

    assert set(found.rows["model"]) == {"a", "c"}
    assert "b" in found.flags[0]


def test_no_file(tmp_path):
    with pytest.raises(MissingError, match="no file"):
        read_testbed(tmp_path / "none.csv")


def test_attributes_from_a_file(tmp_path):
    found = read_attributes(table(tmp_path, ["a,7,max", "b,3,none"], "model,stem_kernel,pool"))

    assert found.schema == {"model": pl.String, "stem_kernel": pl.Float64, "pool": pl.String}
    with pytest.raises(BadValueError, match="stand twice"):
        read_attributes(table(tmp_path, ["a,7", "a,3"], "model,stem_kernel"))
    with pytest.raises(BadValueError, match="no attribute"):
        read_attributes(table(tmp_path, ["a", "b"], "model"))
