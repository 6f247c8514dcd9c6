"""What a search leaves is read as it was written, and anything else is refused."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.records.searches import (
    Asked,
    Correlations,
    Limit,
    Ran,
    Scored,
    Search,
    TableInfo,
    TableStudy,
    read_search,
    read_table_study,
    trial_columns,
    write_search,
    write_table_study,
)


@pytest.fixture
def search():
    return Search(
        table=TableInfo(name="small"),
        objectives=(Asked(text="clean"), Asked(text="min: params", direction="minimize")),
        constraints=(Limit(text="params <= 3", bound=3, satisfied=2, of=5),),
        select_on="validation",
        budget=2,
        repetitions=1,
        seed=0,
        searchers=(Ran(spec="random", seconds=0.5),),
        scored=(Scored(searcher="random", column="clean", mean=math.nan),),
        correlations=Correlations(columns=("a", "b"), kendall=((1.0, math.nan), (math.nan, 1.0))),
    )


@pytest.fixture
def trials():
    rows = {
        "searcher": ["random"] * 2,
        "repetition": [0, 0],
        "step": [0, 1],
        "round": [0, 1],
        "arch": ["a", "b"],
        "merit": [0.5, -math.inf],
        "feasible": [True, False],
        "value_0": [0.5, math.nan],
        "value_1": [-2.0, math.nan],
        "limit_0": [2.0, 4.0],
    }
    return pl.DataFrame(rows, schema=trial_columns(2, 1))


def test_a_search_is_read_as_it_was_written(tmp_path, search, trials):
    folder = write_search(tmp_path / "new" / "out", search, trials.select(trials.columns[::-1]))
    found, rows = read_search(folder)

    assert repr(search) == repr(found)  # NaN equals itself here
    assert trials.equals(rows.select(trials.columns))
    assert {"search.json", "trials.parquet"} == {path.name for path in folder.iterdir()}


def test_the_file_is_json_that_any_program_reads(tmp_path, search, trials):
    write_search(tmp_path, search, trials)
    body = json.loads((tmp_path / "search.json").read_text(), parse_constant=pytest.fail)

    assert body["scored"][0]["mean"] is None
    assert [[1.0, None], [None, 1.0]] == body["correlations"]["kendall"]


def test_trials_of_other_columns_are_refused_before_anything_is_written(tmp_path, search, trials):
    with pytest.raises(BadValueError, match="missing: limit_0, unknown: extra"):
        write_search(tmp_path, search, trials.rename({"limit_0": "extra"}))

    assert [] == list(tmp_path.iterdir())


def test_a_folder_without_a_search_says_what_writes_one(tmp_path, search, trials):
    with pytest.raises(MissingError, match="holdfast search run --out"):
        read_search(tmp_path)
    write_search(tmp_path, search, trials)
    (tmp_path / "trials.parquet").unlink()
    with pytest.raises(MissingError, match=r"trials\.parquet"):
        read_search(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "<html>", '{"table": {"name": "x"}, "colour": 1}'])
def test_a_file_that_says_something_else_is_refused(tmp_path, search, trials, text):
    write_search(tmp_path, search, trials)
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(BadValueError, match=r"search\.json is not what"):
        read_search(tmp_path)


def test_a_field_that_nobody_knows_is_refused(tmp_path, search, trials):
    path = write_search(tmp_path, search, trials) / "search.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1}))
    with pytest.raises(BadValueError, match="colour"):
        read_search(tmp_path)


def test_a_table_of_trials_that_was_cut_off_is_refused(tmp_path, search, trials):
    write_search(tmp_path, search, trials)
    whole = (tmp_path / "trials.parquet").read_bytes()
    (tmp_path / "trials.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadValueError, match="no table of trials"):
        read_search(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path, search, trials):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="choose another folder"):
        write_search(tmp_path / "file", search, trials)


def test_a_look_at_a_table_is_read_as_it_was_written(tmp_path):
    study = TableStudy(table=TableInfo(name="small", space="nb201"), architectures=3)
    folder = write_table_study(tmp_path, study)

    assert study == read_table_study(folder)
    with pytest.raises(MissingError, match=r"table\.json"):
        read_table_study(tmp_path / "other")
