"""timm's tables of results."""

from __future__ import annotations

import pytest

from holdfast.core.errors import BadValueError, MissingError
from holdfast.records.timm_tables import TIMM_COLUMNS, read_timm_results

HEAD = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"
ROWS = """big.a,336,71.200,28.800,90.336,9.664,"1,013.01",1.000,bicubic,-18.262,-8.492,+4
small.b,224,50.000,50.000,70.000,30.000,5.00,0.875,bilinear,+0.100,-0.200,-13
lost.c,224,0.480,99.520,2.320,97.680,30.02,0.875,bicubic,,,
"""


def write(folder, rows=ROWS, head=HEAD + ",top1_diff,top5_diff,rank_diff"):
    path = folder / "results-toy.csv"
    path.write_text(f"{head}\n{rows}", encoding="utf-8")
    return path


def test_percents_become_fractions_and_signs_and_commas_are_read(tmp_path):
    frame = read_timm_results(write(tmp_path))

    assert list(TIMM_COLUMNS.items()) == list(frame.schema.items())
    assert [0.712, 0.5, 0.0048] == frame["top1"].round(6).to_list()
    assert [0.90336, 0.7, 0.0232] == frame["top5"].round(6).to_list()
    assert [1013.01, 5.0, 30.02] == frame["param_count"].to_list()
    assert [4, -13, None] == frame["rank_diff"].to_list()
    assert [336, 224, 224] == frame["img_size"].to_list()


def test_a_clean_table_has_no_published_difference(tmp_path):
    frame = read_timm_results(write(tmp_path, "a,224,50,50,70,30,5,1,bicubic\n", HEAD))

    assert [None] == frame["rank_diff"].to_list()


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    assert 1 == read_timm_results(write(tmp_path, "a,224,50\n", "\ufeffmodel,img_size,top1")).height


@pytest.mark.parametrize(
    ("rows", "head", "told"),
    [
        ("a,224\n", "model,img_size", r"lacks the columns top1; it has model, img_size"),
        ("a,224,x\n", "model,img_size,top1", "row 2: top1 must be a number, got 'x'"),
        ("a,224,nan\n", "model,img_size,top1", "row 2: top1 must be a number, got 'nan'"),
        ("a,224,\n", "model,img_size,top1", "row 2: top1 is empty"),
        ("a,224,101\n", "model,img_size,top1", "row 2: top1 must be percent from 0 to 100"),
        ("a,224,1\na,224,2\n", "model,img_size,top1", "has a at 224 pixels twice"),
        ("", "model,img_size,top1", "a header and no rows"),
        ("a,224.5,1\n", "model,img_size,top1", "row 2: img_size must be a whole number"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, rows, head, told):
    with pytest.raises(BadValueError, match=told):
        read_timm_results(write(tmp_path, rows, head))


def test_no_file_and_an_empty_one(tmp_path):
    with pytest.raises(MissingError, match="expected a table of timm's results"):
        read_timm_results(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(BadValueError, match="is empty"):
        read_timm_results(tmp_path / "empty.csv")


@pytest.mark.shared
def test_all_published_tables_can_be_read(shared):
    paths = sorted((shared / "data/tables/timm").glob("results-*.csv"))

    assert [1556] * 8 == [read_timm_results(path).height for path in paths]
