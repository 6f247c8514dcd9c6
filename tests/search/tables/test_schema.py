"""What a table may not say."""

from __future__ import annotations

import math

import polars as pl
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.tables.naming import family, matches, split_qualifiers
from holdfast.search.tables.schema import frame_of
from search_toys import toy_table

FRAME = toy_table().frame
FIRST = pl.int_range(pl.len()) == 0


def changed(name, value):
    plain = FRAME.with_columns(pl.col(pl.Categorical).cast(pl.String))
    return plain.with_columns(pl.when(FIRST).then(pl.lit(value)).otherwise(name).alias(name))


def test_a_whole_table_is_taken_as_it_is():
    assert frame_of(FRAME).equals(FRAME)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("split", "dev", "split must be one of"),
        ("training", "robust", "training must be one of"),
        ("arch", None, "1 rows have no arch"),
        ("metric", None, "1 rows have no metric"),
        ("value", math.inf, "1 values are infinite"),
        ("value", 85.0, "fractions of 0 to 1; 1 are not"),
        ("value", -0.1, "fractions of 0 to 1; 1 are not"),
    ],
)
def test_what_cannot_be_is_refused(name, value, why):
    with pytest.raises(BadValueError, match=why):
        frame_of(changed(name, value))


def test_nan_and_nothing_are_no_data_and_allowed():
    assert frame_of(changed("value", math.nan)).height == FRAME.height
    assert frame_of(changed("value", None)).height == FRAME.height


def test_two_values_of_one_thing_are_refused():
    with pytest.raises(BadValueError, match="2 rows say the value of one thing"):
        frame_of(pl.concat([FRAME, FRAME.head(1)]))


def test_a_column_too_many_and_one_too_few_are_named():
    with pytest.raises(BadValueError, match="missing: value, unknown: score"):
        frame_of(FRAME.rename({"value": "score"}))


@pytest.mark.parametrize(
    ("wanted", "condition", "expected"),
    [
        ("pgd", "pgd(norm=linf, eps=8/255, steps=20)", True),
        ("pgd(eps=8/255)", "pgd(norm=linf, eps=8/255, steps=20)", True),
        ("pgd(eps=0.0313725490196)", "pgd(norm=linf, eps=8/255, steps=20)", True),
        ("pgd(eps=4/255)", "pgd(norm=linf, eps=8/255, steps=20)", False),
        ("pgd(restarts=2)", "pgd(norm=linf, eps=8/255, steps=20)", False),
        ("attacks", "square(norm=linf, eps=1/255, queries=5000)", True),
        ("attacks", "fog(severity=3)", False),
        ("corruptions", "fog(severity=3)", True),
        ("corruptions", "mean_corruption", False),
        ("corruptions", "gaussian_noise(sigma=0.1)", False),
        ("clean", "clean", True),
    ],
)
def test_conditions_match_what_a_person_means(wanted, condition, expected):
    assert matches(wanted, condition) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("clean", "clean"), ("cw_pgd(eps=8/255)", "attack"), ("mean_corruption", "corruption"),
     ("fog(severity=1)", "corruption"), ("latency(device=x)", "cost"), ("params", "cost")],
)  # fmt: skip
def test_families(condition, expected):
    assert family(condition) == expected


def test_qualifiers_are_read():
    assert split_qualifiers("pgd(eps=[1/255, 2/255])[split=test, epochs=50]") == (
        "pgd(eps=[1/255, 2/255])",
        {"split": "test", "epochs": 50},
    )


@pytest.mark.parametrize(
    "text", ["clean[split=test", "clean[spilt=test]", "clean[epochs=many]", "clean[epochs=²]",
             "clean[split=test]x", "clean[split=test, split=validation]"],
)  # fmt: skip
def test_qualifiers_that_cannot_be_read_are_refused(text):
    with pytest.raises(BadValueError):
        split_qualifiers(text)
