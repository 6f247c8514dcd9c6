"""Whole searches: repetitions, processes, and going on after a stop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from holdfast.core.errors import BadValueError, StoreError, UnknownNameError
from holdfast.records.searches import read_search, write_search
from holdfast.search.conclude import conclude, trials_frame
from holdfast.search.log import RoundLog
from holdfast.search.loop import Problem, Round
from holdfast.search.objectives import build_objective
from holdfast.search.run import Plan, Prepared, run
from holdfast.search.spaces import space_of
from holdfast.search.tables import BenchmarkTable, Card, write_parquet
from holdfast.search.tables.schema import frame_of
from holdfast.search.trials import Trial
from search_toys import PGD, SPACE, toy_table


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


PROBLEM = Problem(space_of(SPACE), build_objective(toy_table(), ["clean"]))
ARCHS = list(PROBLEM.space.everything())


def _round(step, count, kept=None):
    trials = (
        Trial(step + k, step, ARCHS[step + k], PROBLEM.objective(ARCHS[step + k]))
        for k in range(count)
    )
    return Round(tuple(trials), kept or {})


def _log(folder, *, remembers=False, budget=9):
    return RoundLog(folder / "one", remembers=remembers, budget=budget)


def test_what_a_searcher_keeps_is_kept_beside_its_rounds(tmp_path):
    log = _log(tmp_path, remembers=True)
    log.add(_round(0, 3, {"w": np.arange(3.0)}))
    log.add(_round(3, 3, {"w": np.arange(6.0)}))
    found = _log(tmp_path, remembers=True).read(PROBLEM)

    assert [one.trials for one in found] == [_round(0, 3).trials, _round(3, 3).trials]
    assert found[-1].kept["w"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(list(tmp_path.glob("*.npz"))) == 1


@pytest.mark.parametrize("body", [None, b"", b"PK\x03\x04 cut off"])
def test_rounds_whose_state_was_lost_are_done_again(tmp_path, body):
    log = _log(tmp_path, remembers=True)
    log.add(_round(0, 3, {"w": np.arange(3.0)}))
    for path in tmp_path.glob("*.npz"):
        path.unlink() if body is None else path.write_bytes(body)

    assert _log(tmp_path, remembers=True).read(PROBLEM) == []


def test_a_state_is_dropped_once_the_budget_is_spent(tmp_path):
    log = _log(tmp_path, remembers=True, budget=3)
    log.add(_round(0, 3, {"w": np.arange(3.0)}))
    log.close()

    assert list(tmp_path.glob("*.npz")) == []
    assert len(_log(tmp_path, remembers=True, budget=3).read(PROBLEM)) == 1


def _lines(tmp_path):
    log = _log(tmp_path)
    for step in (0, 3, 6):
        log.add(_round(step, 3))
    log.close()
    return tmp_path / "one.jsonl"


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda a, b, c: [a, b, c], 3),
        (lambda a, b, c: [a, c], 1),
        (lambda a, b, c: [b, c], 0),
        (lambda a, b, c: [a, a, b, c], 1),
        (lambda a, b, c: [a, b, c, c], 3),
        (lambda a, b, c: [a, b[: len(b) // 2], c], 1),
        (lambda a, b, c: [a, b.replace("|", "?", 1), c], 1),
        (lambda a, b, c: [a, "[3, 0.1, []]", c], 1),
        (lambda a, b, c: [a, '{"step": 3}', c], 1),
        (lambda a, b, c: [a, "\udcff", c], 1),
    ],
)
def test_what_cannot_follow_is_done_again(tmp_path, change, left):
    path = _lines(tmp_path)
    lines = change(*path.read_text().splitlines())
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape") + b"\n")
    found = _log(tmp_path).read(PROBLEM)

    assert [one.trials for one in found] == [_round(3 * k, 3).trials for k in range(left)]
    assert len(path.read_text().splitlines()) == left


def test_answers_come_from_the_table_and_not_from_the_file(tmp_path):
    _lines(tmp_path)
    other = Problem(PROBLEM.space, build_objective(toy_table(), ["min:clean"]))

    assert _log(tmp_path).read(other)[0].trials[0].score == other.objective(ARCHS[0])


def test_one_search_at_a_time_writes_into_a_folder(table, tmp_path):
    first = run(Prepared(plan(table)), folder=tmp_path)
    next(first)
    with pytest.raises(StoreError, match="another search is writing"):
        next(run(Prepared(plan(table)), folder=tmp_path))
    first.close()

    assert len(list(run(Prepared(plan(table)), folder=tmp_path))) == 6


def test_seconds_of_earlier_queries_are_kept(table, tmp_path):
    first = list(run(Prepared(plan(table)), folder=tmp_path))
    again = list(run(Prepared(plan(table)), folder=tmp_path))

    assert [one.seconds for one in again] == pytest.approx([one.seconds for one in first], abs=1e-4)


def test_tables_of_one_space_are_joined(table, tmp_path):
    frame = toy_table().frame
    one, other = tmp_path / "accuracies.parquet", tmp_path / "latencies.parquet"
    write_parquet(replace(toy_table(), frame=frame.filter(metric="accuracy")), one)
    write_parquet(replace(toy_table(), frame=frame.filter(metric="milliseconds")), other)
    bound = ("latency(device=toy) <= 3",)
    both = Prepared(plan(f"{one},{other}", constraints=bound))

    assert both.objective.ranked() == Prepared(plan(table, constraints=bound)).objective.ranked()


@pytest.mark.parametrize("name", ["nsga2", "local", "bayesian", "evolution"])
def test_failed_queries_end_no_search(tmp_path, name):
    holes = tmp_path / "holes.parquet"
    write_parquet(toy_table(only=40), holes)
    wanted = ("clean", "latency(device=toy)")
    prepared = Prepared(
        plan(str(holes), objectives=wanted, searchers=(name,), missing="fail", repetitions=1)
    )
    done = list(run(prepared))
    found = conclude(prepared, done)

    assert any(trial.score.merit == -math.inf for trial in done[0].trials)
    assert len(trials_frame(prepared, done)) == 25
    assert found.winners


@pytest.mark.parametrize(
    "names",
    [
        ("random", "local", "evolution", "nsga2", "bananas(encoding=one_hot, epochs=5)"),
        pytest.param(("agnet(pretraining=64, ticks=1)",), marks=pytest.mark.slow),
    ],
)
def test_a_search_of_a_large_space_stays_among_what_is_recorded(tmp_path, names):
    space = space_of("darts")
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(60)]
    row = {"space": "darts", "dataset": "toys", "split": "validation", "training": "plain",
           "epochs": 1, "condition": "clean", "metric": "accuracy", "seed": 0}  # fmt: skip
    rows = [{**row, "arch": arch, "value": k / 100} for k, arch in enumerate(archs)]
    path = tmp_path / "few.parquet"
    write_parquet(BenchmarkTable(Card("few", "few", "made up"), frame_of(rows)), path)
    prepared = Prepared(plan(str(path), searchers=names, budget=30, repetitions=1))
    done = list(run(prepared))

    asked = {space.canonical(trial.arch) for one in done for trial in one.trials}

    assert asked <= set(map(space.canonical, archs))
    assert all(one.best.score.merit > 0.3 for one in done)
    assert any("60 recorded architectures" in flag for flag in conclude(prepared, done).flags)


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


def test_the_front_is_what_nothing_asked_for_beats(table):
    """Clean accuracy rises with each convolution and so does latency: one cell a latency."""
    wanted = ("clean", "latency(device=toy)")
    prepared = Prepared(plan(table, objectives=wanted, searchers=("nsga2",), repetitions=2))
    done = list(run(prepared))
    asked = {trial.score.values for one in done for trial in one.trials}
    unbeaten = {
        one
        for one in asked
        if not any(a != one and a[0] >= one[0] and a[1] >= one[1] for a in asked)
    }
    front = [prepared.objective(one.arch).values for one in conclude(prepared, done).front]

    assert set(front) == unbeaten
    assert front == sorted(front, reverse=True)


def test_constraints_are_counted(table):
    bound = ("latency(device=toy) <= 3",)
    prepared = Prepared(plan(table, constraints=bound, repetitions=1))
    found = conclude(prepared, list(run(prepared)))

    # Cells of 0, 1 or 2 convolutions on six edges: 64 + 6 * 32 + 15 * 16.
    assert (found.constraints[0].satisfied, found.constraints[0].of) == (496, 729)
    latency = next(name for name in found.winners[0].values if name.startswith("latency"))
    assert found.winners[0].values[latency] <= 3
