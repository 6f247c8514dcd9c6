from __future__ import annotations

import math
import os
import sys

import polars as pl
import pytest
import torch

from holdfast.core.errors import (
    BadValueError,
    ChangedInputError,
    MissingError,
    StoreError,
    UnknownNameError,
)
from holdfast.training.reading import load_recipe
from holdfast.training.tuning import Tuning, TuningOptions, read_tuning, space_of
from training.tuning.toys import BEST, SPACE, Toy, recipe, work

TRIALS = 30


def tuned(folder, *, runner=None, base=None, space=SPACE, trials=TRIALS, **options):
    tuning = Tuning(
        base or recipe(),
        space,
        folder,
        TuningOptions(trials=trials, **options),
        runner or Toy(),
    )
    for _ in tuning.run():
        pass
    return tuning.result()


@pytest.fixture(scope="module", autouse=True)
def _no_wait_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Folder and result of one whole search."""
    folder = tmp_path_factory.mktemp("searched")
    return folder, tuned(folder)


def drawn(result):
    """All of a result but the times."""
    return result.trials.drop("seconds").rows()


def test_halving_finds_the_neighbourhood_of_the_optimum_at_a_part_of_the_cost(searched):
    folder, result = searched

    assert work(folder) < 0.5 * TRIALS * 8
    assert abs(math.log10(result.best.optimizer.lr / BEST)) < 0.1
    assert result.score > 0.99 * 0.9 * (1 - math.exp(-8 / 3))
    counts = dict(result.trials["status"].value_counts().rows())
    assert {"complete", "pruned"} == set(counts)
    assert counts["pruned"] > counts["complete"]


def test_a_pruned_trial_has_run_as_long_as_its_last_rung(searched):
    folder, trials = searched[0], searched[1].trials

    assert {1, 2, 4} == set(trials.filter(pl.col("status") == "pruned")["epochs"])
    assert {8} == set(trials.filter(pl.col("status") == "complete")["epochs"])
    assert work(folder) == trials["epochs"].sum()


def test_tpe_learns_and_random_does_not(searched, tmp_path):
    _, tpe = searched
    random = tuned(tmp_path, sampler="random")

    def late(result):
        return (result.trials["optimizer.lr"].tail(20).log10() - math.log10(BEST)).abs().mean()

    assert late(tpe) < 0.8 * late(random)
    # Uniform in the logarithm over [-6, 0], whose distance to -3 is 1.5 on average.
    assert 1.2 < late(random) < 1.8


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_seed_of_the_recipe_decides_all(tmp_path, sampler):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = tuned(tmp_path / "a", sampler=sampler, trials=14)
    torch.manual_seed(2)
    again = tuned(tmp_path / "b", sampler=sampler, trials=14)
    torch.manual_seed(1)
    tuned(tmp_path / "d", trials=2)
    other = tuned(tmp_path / "c", sampler=sampler, trials=14, base=recipe(seed=1))

    assert drawn(first) == drawn(again)
    assert drawn(first) != drawn(other)
    assert torch.equal(before, torch.get_rng_state())


def test_more_trials_later_are_those_of_one_run(tmp_path):
    whole = tuned(tmp_path / "a", trials=14)
    tuned(tmp_path / "b", trials=5)
    rest = tuned(tmp_path / "b", trials=14)

    assert drawn(whole) == drawn(rest)
    assert work(tmp_path / "a") == work(tmp_path / "b")


def test_a_finished_search_runs_nothing_again(tmp_path):
    first = tuned(tmp_path, trials=4)
    done = work(tmp_path)

    assert drawn(first) == drawn(tuned(tmp_path, trials=4))
    assert done == work(tmp_path)


def test_a_trial_that_diverges_is_a_row(tmp_path):
    trials = tuned(tmp_path, runner=Toy(fails_above=1e-2), trials=20).trials
    failed = trials.filter(pl.col("status") == "failed")

    assert 20 == len(trials)
    assert len(failed) > 0
    assert failed["optimizer.lr"].min() >= 1e-2
    assert {"loss is no number any more"} == set(failed["error"])
    assert {1} == set(failed["epochs"])


def test_a_failed_trial_is_never_the_best(tmp_path):
    space = space_of({"optimizer.lr": {"choice": [1e-3, 1e-5]}})
    result = tuned(tmp_path, runner=Toy(fails_above=1e-4), space=space, trials=6)

    assert 1e-5 == result.best.optimizer.lr


def test_there_is_no_best_of_failed_trials_alone(tmp_path):
    result = tuned(tmp_path, runner=Toy(fails_above=0.0), trials=1)

    assert result.trials["score"][0] > 0
    assert result.best is result.number is None


def test_the_end_comes_where_all_trials_fail(tmp_path):
    with pytest.raises(BadValueError, match=r"first 10 trials all failed.*without a measurement"):
        tuned(tmp_path, runner=silent)


def broken(one, folder):
    raise StoreError("disk full")
    yield


def test_an_error_that_is_no_fault_of_the_trial_ends_and_can_go_on(tmp_path):
    with pytest.raises(StoreError, match="disk full"):
        tuned(tmp_path, runner=broken, trials=3)
    result = tuned(tmp_path, trials=3)

    assert drawn(result) == drawn(tuned(tmp_path / "other", trials=3))


def silent(one, folder):
    yield {"epoch": 0.0, "validation_accuracy": 0.1}


def wordless(one, folder):
    yield {"epoch": 1.0, "validation_accuracy": None}


def nan(one, folder):
    yield {"epoch": 1.0, "validation_accuracy": math.nan}


@pytest.mark.parametrize(
    ("runner", "told"),
    [(silent, "without a measurement"), (wordless, "no validation_acc"), (nan, "is NaN after")],
)
def test_a_trial_without_a_number_has_failed(tmp_path, runner, told):
    result = tuned(tmp_path, runner=runner, trials=1)

    assert "failed" == result.trials["status"][0]
    assert told in result.trials["error"][0]
    assert result.best is result.score is None


def test_a_score_is_the_best_measurement_not_the_last(tmp_path):
    def rising_and_falling(one, folder):
        yield from (
            {"epoch": float(e), "validation_accuracy": a}
            for e, a in enumerate([0.1, 0.3, 0.7, 0.2])
        )

    result = tuned(tmp_path, runner=rising_and_falling, trials=1, base=recipe(epochs=3))

    assert 0.7 == result.score


def test_the_last_of_part_of_an_epoch_counts(tmp_path):
    def short(one, folder):
        yield {"epoch": 0.5, "validation_accuracy": 0.4}

    result = tuned(tmp_path, runner=short, trials=1)

    assert ("complete", 0.4, 0) == result.trials.select("status", "score", "epochs").row(0)


def test_the_last_epoch_is_never_pruned(tmp_path):
    # One epoch: nothing could be saved by calling a whole run pruned.
    trials = tuned(tmp_path, base=recipe(epochs=1), trials=8).trials

    assert {"complete"} == set(trials["status"])


def test_loss_is_minimized(tmp_path):
    result = tuned(tmp_path, metric="loss", trials=20)

    assert abs(math.log10(result.best.optimizer.lr / BEST)) < 0.5
    assert result.score == result.trials.filter(pl.col("status") == "complete")["score"].min()


def test_the_score_is_robust_accuracy_where_there_is_an_attack():
    attacked = recipe(train={"objective": "trades"})

    assert "validation_robust" == TuningOptions(trials=1).column(attacked)
    assert "validation_accuracy" == TuningOptions(trials=1).column(recipe())
    with pytest.raises(BadValueError, match="never measured"):
        TuningOptions(trials=1, metric="validation_robust").column(recipe())
    blind = recipe(data={"name": "cifar10", "validation": None})
    with pytest.raises(BadValueError, match=r"data\.validation"):
        TuningOptions(trials=1).column(blind)


def test_what_is_left_behind(tmp_path):
    result = tuned(tmp_path, trials=6)

    assert result.best == load_recipe(tmp_path / "best.yaml")
    assert result.trials.equals(pl.read_parquet(tmp_path / "trials.parquet"))
    read = read_tuning(tmp_path)
    assert (result.best, result.score) == (read.best, read.score)
    assert result.trials.equals(read.trials)
    assert ["optimizer.lr", "optimizer.weight_decay"] == result.trials.columns[-2:]
    assert (tmp_path / "trials" / f"{result.number:05d}" / "rows.jsonl").is_file()


def test_the_best_recipe_is_that_of_the_best_trial(tmp_path):
    result = tuned(tmp_path, trials=6)
    row = result.trials.row(result.number, named=True)

    assert row["optimizer.lr"] == result.best.optimizer.lr
    assert row["score"] == result.score


def test_every_kind_of_value_reaches_the_recipe_and_the_table(tmp_path):
    space = space_of(
        {
            "train.batch_size": {"int": [16, 64], "log": True},
            "schedule.kind": {"choice": ["cosine", "constant"]},
            "optimizer.nesterov": {"choice": [True, False]},
            "augment": {"choice": [["flip"], ["flip", "crop(padding=4)"]]},
        }
    )
    seen = []

    def spy(one, folder):
        seen.append(one)
        yield {"epoch": 8.0, "validation_accuracy": 0.5}

    trials = tuned(tmp_path, space=space, runner=spy, trials=12).trials

    assert [one.train.batch_size for one in seen] == trials["train.batch_size"].to_list()
    assert [one.schedule.kind for one in seen] == trials["schedule.kind"].to_list()
    assert {True, False} == {one.optimizer.nesterov for one in seen}
    assert {"true", "false"} == set(trials["optimizer.nesterov"])
    assert {1, 2} == {len(one.augment) for one in seen}


def test_another_question_in_the_same_folder_is_refused(tmp_path):
    tuned(tmp_path, trials=1)
    wider = space_of({"optimizer.lr": {"log": [1e-7, 1.0]}})

    with pytest.raises(ChangedInputError, match=r"recipe\.train\.epochs: 8 -> 9"):
        tuned(tmp_path, base=recipe(epochs=9))
    with pytest.raises(ChangedInputError, match=r"space\.optimizer\.lr.*1e-06.*1e-07"):
        tuned(tmp_path, space=wider)
    with pytest.raises(ChangedInputError, match=r"weight_decay.*-> absent"):
        tuned(tmp_path, space=wider)
    with pytest.raises(ChangedInputError, match=r"options\.sampler: tpe -> random"):
        tuned(tmp_path, sampler="random")


def test_time_ends_a_trial_which_goes_on_later(tmp_path):
    base = recipe(epochs=3)
    first = tuned(tmp_path, trials=2, seconds=0.25, runner=Toy(0.15), base=base)

    assert "unfinished" == first.trials["status"][-1]
    assert len(first.trials) == 1
    assert first.best is not None  # of what is known, where no trial is whole
    rest = tuned(tmp_path, trials=2, seconds=60, base=base)
    assert {"complete", "pruned"} >= set(rest.trials["status"])
    assert drawn(rest) == drawn(tuned(tmp_path / "other", trials=2, base=base))


def test_time_of_earlier_starts_counts(tmp_path):
    tuned(tmp_path, trials=1, runner=Toy(0.05), base=recipe(epochs=4))

    again = tuned(tmp_path, trials=5, seconds=0.2, base=recipe(epochs=4))
    assert 1 == len(again.trials)


def test_seconds_of_a_trial_are_those_of_all_its_starts(tmp_path):
    base = recipe(epochs=3)
    tuned(tmp_path, trials=1, seconds=0.15, runner=Toy(0.1), base=base)
    result = tuned(tmp_path, trials=1, runner=Toy(0.1), base=base)

    assert 0.3 <= result.trials["seconds"][0] < 2


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, "needs an end"),
        ({"trials": 0}, "trials must"),
        ({"trials": 1, "jobs": 0}, "jobs must"),
        ({"seconds": 0}, "seconds must"),
        ({"seconds": math.inf}, "seconds must"),
        ({"trials": 1, "grace": 0}, "grace must"),
        ({"trials": 1, "reduction": 1}, "reduction must"),
    ],
)
def test_options_that_make_no_sense(wrong, told):
    with pytest.raises(BadValueError, match=told):
        TuningOptions(**wrong)


def test_unknown_samplers_and_metrics_are_named():
    with pytest.raises(UnknownNameError, match="did you mean random"):
        TuningOptions(trials=1, sampler="randm")
    with pytest.raises(UnknownNameError, match="did you mean validation_robust"):
        TuningOptions(trials=1, metric="robust_validation")


def test_without_the_libraries_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"pip install 'ray"):
        tuned(tmp_path / "a", trials=1, ray=True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingError, match=r"pip install 'holdfast\[tune\]'"):
        tuned(tmp_path / "b", trials=1)


def test_a_folder_that_holds_no_tuning(tmp_path):
    with pytest.raises(MissingError, match=r"no tuning\.json"):
        read_tuning(tmp_path)
    (tmp_path / "tuning.json").write_text("{}")
    with pytest.raises(BadValueError, match="is not what"):
        read_tuning(tmp_path)
