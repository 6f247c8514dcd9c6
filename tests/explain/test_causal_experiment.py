"""Cells of the causal check are trained and measured once, and say what their folders say."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import BadValueError, HoldfastError
from holdfast.explain.causal import Design, experiment
from holdfast.explain.causal.experiment import training_folder
from holdfast.measuring import measure
from holdfast.metrics.slope import robustness_slope
from holdfast.models import read_weights


@pytest.fixture(name="tiny", scope="module")
def _tiny():
    return Design(
        kernels=(3, 5),
        pools=("average",),
        seeds=1,
        epochs=1,
        train_count=96,
        test_count=40,
        width=4,
        sigmas=(0.1, 0.3),
    )


@pytest.fixture(name="run", scope="module")
def _run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal")
    told = []
    return folder, list(experiment(tiny, folder, device="cpu", jobs=1, told=told.append)), told


def test_what_is_finished_is_not_done_again(tiny, run):
    folder, first, _ = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    again = list(experiment(tiny, folder, device="cpu", jobs=1))

    assert [False, False] == [one.known for one in first]
    assert [True, True] == [one.known for one in again]
    assert [one.trained for one in first] == [one.trained for one in again]
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_a_cell_says_what_measuring_its_folder_says(tiny, run):
    folder, first, _ = run
    home = training_folder(folder, tiny, tiny.cells[0])
    found = measure(
        str(home),
        "digits",
        ["gaussian_noise(sigma=0.1)", "gaussian_noise(sigma=0.3)"],
        split="test",
        n=40,
        device="cpu",
    )
    curve = dict(first[0].trained.accuracies)

    assert [0.0, 0.1, 0.3] == list(curve)
    assert curve[0.0] == found.value()
    assert curve[0.3] == found.value(condition="gaussian_noise(sigma=0.3)")
    assert (40, 96) == (first[0].images, first[0].train_images)
    assert first[0].trained.slope == robustness_slope(list(curve), list(curve.values())).value


def test_the_gain_is_that_of_the_weights_kept(tiny, run):
    folder, first, _ = run
    for cell, one in zip(tiny.cells, first, strict=True):
        weights = read_weights(training_folder(folder, tiny, cell) / "last.safetensors")
        filters = weights["filters.weight"].double()
        assert filters.shape[-1] == cell.stem
        assert np.isclose(16 * float(filters.square().sum((1, 2, 3)).mean()), one.trained.stem_gain)


def test_progress_names_the_cell_and_the_epoch(run):
    assert any("stem 5, average pooling, seed 0: epoch 1/1, loss" in text for text in run[2])


def test_a_training_that_diverges_is_a_failed_cell():
    design = Design(
        kernels=(3, 5),
        pools=("average",),
        seeds=1,
        epochs=1,
        train_count=128,
        test_count=20,
        width=2,
        sigmas=(0.1, 0.3),
        overrides=("optimizer.lr=1e30", "optimizer.kind=sgd"),
    )
    found = list(experiment(design, device="cpu", jobs=1))

    assert ["failed", "failed"] == [one.trained.status for one in found]
    assert all(one.trained.error for one in found)


def test_data_that_are_not_there_end_it():
    with pytest.raises(HoldfastError):
        list(experiment(Design(data="npz:nowhere.npz"), device="cpu", jobs=1))


def test_fewer_than_no_jobs_are_refused(tiny):
    with pytest.raises(BadValueError, match="jobs"):
        next(experiment(tiny, jobs=-1))


@pytest.mark.slow
def test_processes_change_no_number(tiny, run):
    several = list(experiment(tiny, device="cpu", jobs=2))
    several.sort(key=lambda one: one.cell.stem)

    assert [one.trained for one in run[1]] == [one.trained for one in several]
