"""Trials that are real runs."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.records.trainings import read_curves, read_training
from holdfast.training.reading import recipe_of
from holdfast.training.tuning import TrainingRunner, Tuning, TuningOptions, space_of


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A recipe of 48 images of 8 pixels, whose two classes differ in brightness."""
    path = tmp_path_factory.mktemp("images") / "small.npz"
    y = np.arange(48) % 2
    noise = np.random.default_rng(0).integers(0, 80, (48, 8, 8, 3))
    np.savez(path, x=(noise + 90 * y[:, None, None, None]).astype(np.uint8), y=y)
    return recipe_of(
        {
            "data": {"name": f"npz:{path}", "validation": 0.25},
            "model": {"name": "small:cnn(width=4)"},
            "train": {"epochs": 3, "batch_size": 12},
            "validate": {"train_n": 0},
        }
    )


def rows(found):
    """Without the times."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def test_rows_are_those_of_the_run(small, tmp_path):
    found = list(TrainingRunner("cpu")(small, tmp_path / "run"))

    assert [0, 1, 2, 3] == [row["epoch"] for row in found]
    assert rows(found) == rows(read_curves(tmp_path / "run").iter_rows(named=True))
    assert "finished" == read_training(tmp_path / "run").status


def test_a_run_that_was_closed_goes_on_and_gives_every_row_again(small, tmp_path):
    whole = list(TrainingRunner("cpu")(small, tmp_path / "whole"))
    run = TrainingRunner("cpu")(small, tmp_path / "run")
    begun = [next(run) for _ in range(2)]
    run.close()

    assert rows(whole[:2]) == rows(begun)
    stopped = read_training(tmp_path / "run")
    assert ("interrupted", 1) == (stopped.status, stopped.epochs)
    assert "tuning" in stopped.reason
    again = list(TrainingRunner("cpu")(small, tmp_path / "run"))
    assert rows(whole) == rows(again)
    assert "finished" == read_training(tmp_path / "run").status


def test_rows_after_the_last_checkpoint_are_given_once(small, tmp_path):
    whole = list(TrainingRunner("cpu")(small, tmp_path / "whole"))
    run = TrainingRunner("cpu")(small, tmp_path / "run")
    _ = [next(run) for _ in range(2)]
    run.close()
    (tmp_path / "run" / "checkpoint.safetensors").unlink()

    assert rows(whole) == rows(TrainingRunner("cpu")(small, tmp_path / "run"))


def test_a_finished_run_gives_its_rows_and_trains_nothing(small, tmp_path):
    whole = list(TrainingRunner("cpu")(small, tmp_path))
    before = (tmp_path / "last.safetensors").stat().st_mtime_ns

    assert rows(whole) == rows(TrainingRunner("cpu")(small, tmp_path))
    assert before == (tmp_path / "last.safetensors").stat().st_mtime_ns


def test_trials_are_real_runs_of_which_one_is_the_best(small, tmp_path):
    space = space_of({"optimizer.lr": {"log": [1e-6, 1e-1]}})
    options = TuningOptions(trials=4, sampler="random")
    tuning = Tuning(small, space, tmp_path, options, TrainingRunner("cpu"))
    ended = list(tuning.run())

    assert [0, 1, 2, 3] == [trial.number for trial in ended]
    result = tuning.result()
    run = read_training(tmp_path / "trials" / f"{result.number:05d}")
    assert run.digest == result.best.digest
    assert run.best_score == result.score
    for trial in ended:
        there = read_training(tmp_path / "trials" / f"{trial.number:05d}")
        assert {"complete": "finished", "pruned": "interrupted"}[trial.status] == there.status
        assert trial.epochs == there.epochs
