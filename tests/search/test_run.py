"""Whole searches: repetitions, processes, and going on after a stop."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from holdfast.core.errors import BadValueError, StoreError, UnknownNameError
from holdfast.records.searches import read_search, write_search
from holdfast.search.conclude import conclude, trials_frame
from holdfast.search.log import RoundLog
from holdfast.search.loop import Round
from holdfast.search.run import Plan, Prepared, run
from holdfast.search.tables import write_parquet
from holdfast.search.trials import Score, Trial
from search_toys import PGD, toy_table


@pytest.fixture(name="table", scope="module")
def _table(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "toy.parquet"
    write_parquet(toy_table(), path)
    return str(path)


def plan(table, **settings):
    given = {
        "objectives": ("clean",),
        "searchers": ("random", "local"),
        "budget": 25,
        "repetitions": 3,
    }
    return Plan(table, **{**given, **settings})


def asked(done):
    return {(one.searcher, one.repetition): [trial.arch for trial in one.trials] for one in done}


def test_every_searcher_repeats(table):
    done = list(run(Prepared(plan(table))))

    assert sorted(asked(done)) == [
        (spec, number) for spec in ("local", "random") for number in range(3)
    ]
    assert {len(one.trials) for one in done} == {25}


@pytest.mark.slow  # two processes import torch
def test_processes_find_what_one_process_finds(table, monkeypatch):
    monkeypatch.setattr("holdfast.search.run._ALONE", 0.0)
    monkeypatch.setattr("holdfast.search.run._CHUNK", 0.0)

    assert asked(run(Prepared(plan(table)), jobs=2)) == asked(run(Prepared(plan(table)), jobs=1))


def test_a_finished_search_is_read_and_not_run(table, tmp_path):
    first = list(run(Prepared(plan(table)), folder=tmp_path))
    again = list(run(Prepared(plan(table)), folder=tmp_path))

    assert asked(again) == asked(first)
    assert [one.known for one in again] == [25] * 6
    assert [one.trials for one in again] == [one.trials for one in first]


def test_more_repetitions_cost_only_themselves(table, tmp_path):
    list(run(Prepared(plan(table)), folder=tmp_path))
    more = list(run(Prepared(plan(table, repetitions=4)), folder=tmp_path))

    assert sorted(one.known for one in more) == [0, 0, *[25] * 6]


def test_a_file_that_broke_off_goes_on(table, tmp_path):
    whole = asked(run(Prepared(plan(table)), folder=tmp_path))
    for path in tmp_path.rglob("*.jsonl"):
        body = path.read_bytes()
        path.write_bytes(body[: len(body) * 2 // 3])
    again = list(run(Prepared(plan(table)), folder=tmp_path))

    assert asked(again) == whole
    assert all(one.known < 25 for one in again)
    assert asked(run(Prepared(plan(table)), folder=tmp_path)) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 26},
        {"seed": 1},
        {"objectives": (PGD,)},
        {"constraints": ("latency(device=toy) <= 3",)},
        {"select_on": "test"},
        {"unique": True},
    ],
)
def test_another_search_shares_nothing(table, tmp_path, change):
    list(run(Prepared(plan(table)), folder=tmp_path))
    other = list(run(Prepared(plan(table, **change)), folder=tmp_path))

    assert {one.known for one in other} == {0}


def test_another_seed_finds_others(table):
    assert asked(run(Prepared(plan(table)))) != asked(run(Prepared(plan(table, seed=1))))


def test_a_folder_that_cannot_be_made_is_told(table, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises((StoreError, NotADirectoryError)):
        list(run(Prepared(plan(table)), folder=tmp_path / "file"))


@pytest.mark.parametrize("settings", [{"budget": 0}, {"repetitions": 0}, {"searchers": ()}])
def test_a_plan_without_work_is_refused(table, settings):
    with pytest.raises(BadValueError, match=r"must be|needs"):
        plan(table, **settings)


def test_a_searcher_named_twice_is_refused(table):
    with pytest.raises(BadValueError, match="named twice"):
        Prepared(plan(table, searchers=("local", "local(starts=10)")))


def test_an_unknown_table_is_told():
    with pytest.raises(UnknownNameError, match="digits"):
        Prepared(plan("digit"))


def _round(step, count, kept=None):
    trials = (Trial(step + k, step, f"arch {step + k}", Score(-math.inf, ())) for k in range(count))
    return Round(tuple(trials), kept or {})


def test_what_a_searcher_keeps_is_kept_beside_its_rounds(tmp_path):
    log = RoundLog(tmp_path / "one", remembers=True, budget=9)
    log.add(_round(0, 3, {"w": np.arange(3.0)}))
    log.add(_round(3, 3, {"w": np.arange(6.0)}))
    found = RoundLog(tmp_path / "one", remembers=True, budget=9).read()

    assert [one.trials for one in found] == [_round(0, 3).trials, _round(3, 3).trials]
    assert found[-1].kept["w"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_rounds_whose_state_was_lost_are_done_again(tmp_path):
    log = RoundLog(tmp_path / "one", remembers=True, budget=9)
    log.add(_round(0, 3, {"w": np.arange(3.0)}))
    for path in tmp_path.glob("*.npz"):
        path.unlink()

    assert RoundLog(tmp_path / "one", remembers=True, budget=9).read() == []


def test_a_state_is_dropped_once_the_budget_is_spent(tmp_path):
    log = RoundLog(tmp_path / "one", remembers=True, budget=3)
    log.add(_round(0, 3, {"w": np.arange(3.0)}))
    log.close()

    assert list(tmp_path.glob("*.npz")) == []
    assert len(RoundLog(tmp_path / "one", remembers=True, budget=3).read()) == 1


def test_a_failed_query_stays_one(tmp_path):
    RoundLog(tmp_path / "one", remembers=False, budget=3).close()
    log = RoundLog(tmp_path / "one", remembers=False, budget=3)
    log.add(_round(0, 2))
    log.close()

    assert RoundLog(tmp_path / "one", remembers=False, budget=3).read()[0] == _round(0, 2)


@pytest.fixture(name="ended", scope="module")
def _ended(table):
    prepared = Prepared(plan(table, budget=60))
    done = list(run(prepared))
    return prepared, done, conclude(prepared, done)


def test_the_record_has_the_optimum_of_the_whole_table(ended):
    found = ended[2]

    assert found.optimum.merit == pytest.approx(0.85)
    assert set(found.optimum.arch) == set("|nor_conv_3x3~0|+|~1|+|~2|")


def test_the_record_counts_who_found_the_optimum(ended):
    _, done, found = ended
    by_hand = [
        np.mean([max(t.score.merit for t in one.trials) > 0.8499 for one in done
                 if one.searcher == ran.spec])
        for ran in found.searchers
    ]  # fmt: skip

    assert [ran.found for ran in found.searchers] == pytest.approx(by_hand)


def test_winners_are_scored_on_the_test_split_afterwards(ended):
    _, done, found = ended
    best = [max(t.score.merit for t in one.trials) for one in done if "local" in one.searcher]
    scored = {(one.searcher, one.column): one for one in found.scored}
    name = "clean, test"

    # In this table the test accuracy lies 0.1 below that of validation.
    assert scored["local", name].mean == pytest.approx(np.mean(best) - 0.1)
    assert scored["local", name].count == 3


def test_no_value_of_the_test_split_is_among_the_trials(ended):
    prepared, done, _ = ended
    clean = prepared.table.values(prepared.objective.quantities[0].terms[0].columns[0])

    first = prepared.table.space.canonical
    trials = [trial for one in done for trial in one.trials]

    assert all(t.score.merit == clean.get(t.arch, clean.get(first(t.arch))) for t in trials)


def test_a_record_is_written_and_read(ended, tmp_path):
    prepared, done, found = ended
    write_search(tmp_path, found, trials_frame(prepared, done))
    read, trials = read_search(tmp_path)

    assert read.model_dump_json() == found.model_dump_json()
    assert len(trials) == 2 * 3 * 60
    assert trials.filter(pl.col("searcher") == "random")["step"].max() == 59


def test_selection_on_the_test_split_is_on_record(table):
    prepared = Prepared(plan(table, select_on="test", repetitions=1))

    assert conclude(prepared, list(run(prepared))).select_on == "test"


def test_selection_on_validation_is_not(ended):
    assert ended[2].select_on == "validation"
    assert ended[2].flags == ()


def test_a_search_for_two_things_has_no_optimum(table):
    wanted = ("clean", "latency(device=toy)")
    prepared = Prepared(plan(table, objectives=wanted, searchers=("nsga2",), repetitions=1))
    found = conclude(prepared, list(run(prepared)))

    assert found.optimum is None
    assert [one.direction for one in found.objectives] == ["maximize", "minimize"]
    assert math.isnan(found.searchers[0].found)


def test_constraints_are_counted(table):
    bound = ("latency(device=toy) <= 3",)
    prepared = Prepared(plan(table, constraints=bound, repetitions=1))
    found = conclude(prepared, list(run(prepared)))

    # Cells of 0, 1 or 2 convolutions on six edges: 64 + 6 * 32 + 15 * 16.
    assert (found.constraints[0].satisfied, found.constraints[0].of) == (496, 729)
    latency = next(name for name in found.winners[0].values if name.startswith("latency"))
    assert found.winners[0].values[latency] <= 3
