"""What explanations keep: every kind comes back as it was, and nothing else is read."""

from __future__ import annotations

import json
import math
import types
import typing

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from typer.main import get_command

from holdfast.cli.explain import app
from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.records.explanations import (
    ANATOMY_COLUMNS,
    FILES,
    Advice,
    Causal,
    FineTuning,
    Odds,
    Ranks,
    Value,
    read_anatomy,
    read_explanation,
    write_anatomy,
    write_explanation,
)

KINDS = list(FILES)
COMMANDS = {FineTuning: "fine-tuning", Advice: "advise"}
# Infinity is no number of JSON; the one field that may be infinite has a test of its own.
NUMBERS = st.one_of(st.just(math.nan), st.floats(allow_infinity=False))


PLAIN = {
    float: NUMBERS,
    int: st.integers(-(2**53), 2**53),
    str: st.text('a\u00e4"<&\\ 0\n', max_size=8),
    bool: st.booleans(),
    type(None): st.none(),
}


def values_of(kind):
    """Strategy of the values of an annotation."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return values_of(inside[0])
    if origin is typing.Literal:
        return st.sampled_from(inside)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(values_of, inside))
    if origin is tuple:
        return tuples_of(inside)
    if origin is dict:
        return st.dictionaries(*map(values_of, inside), max_size=2)
    return PLAIN[kind] if kind in PLAIN else instances(kind)


def tuples_of(inside):
    """Strategy of tuples of annotations; `...` is any number of the first."""
    if inside[1:] == (...,):
        return st.lists(values_of(inside[0]), max_size=2).map(tuple)
    return st.tuples(*map(values_of, inside))


def instances(kind):
    """Strategy of records of a kind, every field given."""
    fields = {name: values_of(field.annotation) for name, field in kind.model_fields.items()}
    if kind is Odds:
        fields["losses"] = st.integers(1, 99)  # without any, no data means infinite odds
    return st.fixed_dictionaries(fields).map(lambda given: kind(**given))


def same(one, other):
    """Equality in which no data equals no data."""
    if isinstance(one, BaseModel):
        return type(one) is type(other) and same(dict(one), dict(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_comes_back_as_it_was(kind, tmp_path):
    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(instances(kind))
    def comes_back(found):
        write_explanation(tmp_path, found)

        assert same(found, read_explanation(tmp_path, kind))

    comes_back()


def test_every_kind_has_a_file_of_its_own():
    assert len(set(FILES.values())) == len(KINDS)


def test_infinite_odds_come_back_from_what_is_null_in_the_file():
    odds = Odds(group="all", wins=3, losses=0, odds_ratio=math.inf, p_value=0.1)

    assert '"odds_ratio":null' in odds.model_dump_json()
    assert odds == Odds.model_validate_json(odds.model_dump_json())


def test_no_data_is_null_in_the_file(tmp_path):
    path = write_explanation(tmp_path, Ranks(perturbation="fog"))
    body = json.loads(path.read_text(encoding="utf-8"))

    assert body["line"]["slope"] is None
    assert math.isnan(read_explanation(tmp_path, Ranks).line.slope)


def test_a_value_without_data_counts_nothing():
    assert (True, 0) == (math.isnan(Value().value), Value().count)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_unknown_field_is_refused_with_the_command_that_writes_the_file(kind, tmp_path):
    body = {"surprise": 1}
    (tmp_path / FILES[kind]).write_text(json.dumps(body), encoding="utf-8")
    name = COMMANDS.get(kind, kind.__name__.lower())
    with pytest.raises(BadValueError, match=f"`holdfast explain {name} --out` writes") as told:
        read_explanation(tmp_path, kind)

    assert FILES[kind] in str(told.value)


def test_the_unknown_field_is_named(tmp_path):
    body = Causal(model="a", data="b").model_dump(mode="json") | {"surprise": 1}
    (tmp_path / FILES[Causal]).write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(BadValueError, match="surprise"):
        read_explanation(tmp_path, Causal)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_missing_file_says_which_command_writes_it_and_there_is_one(kind, tmp_path):
    name = COMMANDS.get(kind, kind.__name__.lower())
    with pytest.raises(MissingError, match=f"`holdfast explain {name} --out` writes it"):
        read_explanation(tmp_path, kind)

    assert name in get_command(app).commands


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model": 3}', "\udcff"])
def test_a_damaged_file_is_told_with_its_name(text, tmp_path):
    path = tmp_path / FILES[Causal]
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadValueError, match=r"causal\.json is not what"):
        read_explanation(tmp_path, Causal)


def test_an_older_file_without_newer_fields_is_read(tmp_path):
    body = {
        "model": "small:stem",
        "data": "digits",
        "trained": [{"stem": 3, "pool": "max", "seed": 0, "accuracies": [[0, 0.9]]}],
    }
    (tmp_path / FILES[Causal]).write_text(json.dumps(body), encoding="utf-8")
    found = read_explanation(tmp_path, Causal)

    assert ("ok", ()) == (found.trained[0].status, found.contrasts)


def test_records_cannot_be_changed():
    with pytest.raises(ValidationError):
        Value().count = 3


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_explanation(tmp_path / "file", Causal(model="a", data="b"))


def anatomies(*models):
    rows = [dict.fromkeys(ANATOMY_COLUMNS) | {"model": one, "status": "ok"} for one in models]
    return pl.DataFrame(rows, schema=ANATOMY_COLUMNS)


def test_anatomies_come_back_with_their_types_and_a_csv_beside(tmp_path):
    rows = anatomies("a", "b").with_columns(stem_kernel=pl.Series([7, None], dtype=pl.Int64))
    path = write_anatomy(tmp_path, rows.select(reversed(rows.columns)))

    assert rows.equals(read_anatomy(tmp_path))
    assert list(ANATOMY_COLUMNS) == read_anatomy(tmp_path).columns
    assert 3 == len(path.with_suffix(".csv").read_text().splitlines())


def test_anatomies_with_other_columns_are_refused(tmp_path):
    with pytest.raises(BadValueError, match="surprise"):
        write_anatomy(tmp_path, anatomies("a").with_columns(surprise=1))


def test_anatomies_that_are_missing_or_damaged_are_told(tmp_path):
    with pytest.raises(MissingError, match="`holdfast explain anatomy` writes it"):
        read_anatomy(tmp_path)
    (tmp_path / "anatomy.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(BadValueError, match="no table of anatomies"):
        read_anatomy(tmp_path)
    anatomies("a").drop("family").write_parquet(tmp_path / "anatomy.parquet")
    with pytest.raises(BadValueError, match="family"):
        read_anatomy(tmp_path)
