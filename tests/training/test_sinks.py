"""Curves elsewhere than in the folder: TensorBoard reads back what was written."""

import contextlib
import importlib
import threading

import pytest

from holdfast.core.errors import MissingError, UnknownNameError
from holdfast.training.sinks import SINKS, opened_sinks

ROWS = [
    {"epoch": 0.0, "step": 0, "seconds": 0.1, "loss": None, "train_accuracy": 0.25, "train_n": 8},
    {"epoch": 1.0, "step": 5, "seconds": 0.2, "loss": 1.5, "train_accuracy": 0.5, "train_n": 8},
    {"epoch": 2.0, "step": 10, "seconds": 0.3, "loss": 0.0, "train_accuracy": 1.0, "train_n": 8},
]


def read_back(folder):
    """(step, value) of each scalar, by TensorBoard's own reader."""
    module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    reader = module.EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return {
        name: [(event.step, event.value) for event in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def test_tensorboard_shows_what_was_measured_at_its_step(tmp_path):
    threads = threading.active_count()
    with opened_sinks(["tensorboard"], tmp_path) as (sink,):
        for row in ROWS:
            sink.add(row)

    assert threads == threading.active_count()  # its writer is closed
    assert {
        "loss": [(5, 1.5), (10, 0.0)],  # what was not measured is no point, and 0 is one
        "train_accuracy": [(0, 0.25), (5, 0.5), (10, 1.0)],
        "train_n": [(0, 8.0), (5, 8.0), (10, 8.0)],
    } == read_back(tmp_path)


def test_what_was_written_before_an_error_is_there(tmp_path):
    with (
        contextlib.suppress(ZeroDivisionError),
        opened_sinks(["tensorboard"], tmp_path) as (sink,),
    ):
        sink.add(ROWS[1])
        raise ZeroDivisionError

    assert [(5, 1.5)] == read_back(tmp_path)["loss"]


def test_a_run_taken_up_again_goes_on_in_the_same_place(tmp_path):
    for row in ROWS:
        with opened_sinks(["tensorboard"], tmp_path) as (sink,):
            sink.add(row)

    assert [(0, 0.25), (5, 0.5), (10, 1.0)] == read_back(tmp_path)["train_accuracy"]


def test_none_wanted_is_none_opened(tmp_path):
    with opened_sinks([], tmp_path) as sinks:
        assert [] == sinks
    assert [] == list(tmp_path.iterdir())


def test_an_unknown_tracker_is_named_before_anything_is_opened(tmp_path):
    with (
        pytest.raises(UnknownNameError, match="no tracker named 'tensorbord'; did you mean tensor"),
        opened_sinks(["tensorboard", "tensorbord"], tmp_path),
    ):
        pass
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SINKS)
def test_a_library_that_is_not_there_is_named_with_how_to_get_it(name, tmp_path, monkeypatch):
    def missing(module, *rest):
        if module.startswith(("torch.utils.tensorboard", "trackio")):
            raise ImportError(module)
        return real(module, *rest)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", missing)
    with (
        pytest.raises(
            MissingError, match=rf"{name} is not installed; pip install 'holdfast\[track\]', or le"
        ),
        opened_sinks([name], tmp_path),
    ):
        pass


def test_trackio_gets_the_measured_columns_and_is_finished(tmp_path, monkeypatch):
    calls = []

    class Run:
        """Keeps what trackio would send."""

        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    class Module:
        @staticmethod
        def init(**settings):
            calls.append(settings)
            return Run()

    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda name, *a: Module if name == "trackio" else real(name, *a)
    )
    with opened_sinks(["trackio"], tmp_path / "mine") as (sink,):
        sink.add(ROWS[0])
        sink.add(ROWS[2])
        assert "finished" not in calls

    assert [
        {"project": "holdfast", "name": "mine", "resume": "allow"},
        (0, {"train_accuracy": 0.25, "train_n": 8.0}),
        (10, {"loss": 0.0, "train_accuracy": 1.0, "train_n": 8.0}),
        "finished",
    ] == calls
