import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import holdfast.records.store as store_module
from holdfast.core.errors import MissingError, StoreError
from holdfast.records import SAMPLE_COLUMNS, Measurement, RunSpec, Store, run_id
from holdfast.records.store import _told


def row(**changes):
    body = {
        "run_id": "r",
        "status": "ok",
        "model": "m",
        "weights_digest": "w",
        "data": "d",
        "data_digest": "x",
        "split": "test",
        "view": "model",
        "condition": "clean",
        "family": "clean",
        "metric": "accuracy",
        "value": 0.5,
        "low": 0.1,
        "high": 0.9,
        "count": 2,
        "device": "cpu",
        "dtype": "float32",
        "seed": 0,
        "flags": ("train_mode",),
        "holdfast_version": "0",
        "torch_version": "0",
    }
    return Measurement(**(body | changes))


def names(folder):
    return [entry.name for entry in folder.iterdir()]


SAMPLES = pl.DataFrame(
    {
        "id": [5, 2],
        "label": [0, 1],
        "prediction": [0, -1],
        "confidence": [0.75, float("nan")],
        "correct": [True, False],
        "top5": [True, False],
        "nll": [0.25, float("nan")],
        "brier": [0.125, float("nan")],
        "forward_evals": [1, 1],
        "gradient_evals": [0, 0],
    },
    schema=SAMPLE_COLUMNS,
)


def spec(**changes):
    body = {
        "model": "timm:resnet50",
        "weights_digest": "ab",
        "source_digest": "",
        "data_digest": "cd",
        "split": "test",
        "view": "model",
        "condition": "fog(severity=3)",
        "seed": 0,
    }
    return RunSpec(**(body | changes))


def test_the_digest_of_an_old_spec_never_changes():
    # printf '%s' '{...}' | sha256sum, first 20 digits: computed outside Python.
    assert "2371bf3a643d9f6ddbd6" == run_id(spec())


@pytest.mark.parametrize("field", ["model", "weights_digest", "data_digest", "split", "condition"])
def test_whatever_decides_a_number_changes_the_id(field):
    assert run_id(spec()) != run_id(spec(**{field: "other"}))


def test_a_run_is_read_as_it_was_written(tmp_path):
    store = Store(tmp_path / "store")
    with store.building("r") as builder:
        builder.finish([row(), row(metric="nll", value=float("nan"))], SAMPLES)

    again = Store.existing(tmp_path / "store")

    assert ["accuracy", "nll"] == again.measurements()["metric"].to_list()
    assert [["train_mode"]] * 2 == again.measurements()["flags"].to_list()
    assert np.isnan(again.measurements()["value"][1])
    assert SAMPLES.sort("id").equals(again.samples("r"), null_equal=True)
    assert again.broken("r").is_empty()


def test_an_unfinished_run_is_not_in_the_store(tmp_path):
    store = Store(tmp_path)
    with store.building("r") as builder:
        builder.parts("4")
        builder.flush(0, {"a": np.arange(3)})

    assert [] == store.runs()
    assert not store.finished("r")


def test_parts_outlive_the_process_that_wrote_them(tmp_path):
    with Store(tmp_path).building("r") as builder:
        builder.parts("4")
        builder.flush(1, {"a": np.arange(3), "b": np.array(["x", "yé"])})

    with Store(tmp_path).building("r") as builder:
        assert {1} == builder.parts("4")
        assert ["x", "yé"] == builder.load(1)["b"].tolist()


def test_parts_of_another_size_are_dropped(tmp_path):
    with Store(tmp_path).building("r") as builder:
        builder.parts("4")
        builder.flush(1, {"a": np.arange(3)})

        assert set() == builder.parts("8")


def test_a_torn_part_does_not_count(tmp_path):
    with Store(tmp_path).building("r") as builder:
        builder.parts("4")
        (tmp_path / "r.partial" / "part-000000.npz.123.tmp").write_bytes(b"half")

        assert set() == builder.parts("4")


def test_what_a_failed_run_had_finished_outlives_its_row(tmp_path):
    store = Store(tmp_path)
    with store.building("r") as builder:
        builder.parts("4")
        builder.flush(1, {"a": np.arange(3)})
        builder.finish([row(status="failed", value=None, error="boom")])
    with store.building("r") as builder:
        assert {1} == builder.parts("4")
    assert ["failed"] == store.measurements()["status"].to_list()


def test_a_failed_run_that_had_finished_nothing_leaves_its_row_alone(tmp_path):
    with Store(tmp_path).building("r") as builder:
        builder.parts("4")
        builder.finish([row(status="failed", value=None, error="boom")])

    assert ["r"] == Store(tmp_path).runs()
    assert [] == list(tmp_path.glob("r.*"))


def test_what_was_written_is_listed_once(tmp_path, monkeypatch):
    listed, glob = [], Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, mask: listed.append(mask) or glob(self, mask))
    with Store(tmp_path).building("r") as builder:
        for part in range(5):
            assert part == len(builder.parts("4"))
            builder.keep(part, part, {"a": np.arange(2)})
            builder.flush(part, {"a": np.arange(3)})
            assert 2 == len(list(builder.all_arrays("4", only=part)))

    assert ["part-*.npz", "piece-*.npz"] == sorted(listed)


def test_parts_of_another_layout_are_dropped(tmp_path):
    with Store(tmp_path).building("r") as builder:
        builder.parts("4")
        builder.flush(1, {"a": np.arange(3)})
    (tmp_path / "r.partial" / "part.json").write_text('{"cut": "4"}')
    with Store(tmp_path).building("r") as builder:
        assert set() == builder.parts("4")


def test_a_failed_run_is_replaced_when_it_succeeds(tmp_path):
    store = Store(tmp_path)
    with store.building("r") as builder:
        builder.finish([row(status="failed", value=None, error="boom")])
    assert not store.finished("r")
    with store.building("r") as builder:
        builder.finish([row()], SAMPLES)

    assert store.finished("r")
    assert ["r"] == store.runs()
    assert 1 == len(store.measurements())


def _hold(path, ready, release):
    with Store(path).building("r") as builder:
        ready.put(builder is not None)
        release.get(timeout=60)
        os._exit(9)  # dies as if killed, without leaving the block


def test_a_run_is_built_by_one_process_and_freed_when_that_dies(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Queue(), context.Queue()
    other = context.Process(target=_hold, args=(tmp_path, ready, release))
    other.start()
    assert ready.get(timeout=60)
    store = Store(tmp_path)

    with store.building("r") as builder:
        assert builder is None
    release.put(None)
    other.join(timeout=60)
    with store.building("r") as builder:
        assert builder is not None


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")

    with pytest.raises(StoreError, match="not a holdfast store and not empty"):
        Store(tmp_path)


def test_a_store_of_another_format_is_refused(tmp_path):
    Store(tmp_path)
    (tmp_path / "holdfast-store.json").write_text(json.dumps({"format": 99}))

    with pytest.raises(StoreError, match="has format 99, this holdfast reads format 1"):
        Store(tmp_path)


def test_a_damaged_mark_is_named(tmp_path):
    Store(tmp_path)
    (tmp_path / "holdfast-store.json").write_text("{")

    with pytest.raises(StoreError, match="is damaged"):
        Store(tmp_path)


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(MissingError, match="no store at"):
        Store.existing(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_a_damaged_table_says_which_folder_to_delete(tmp_path):
    store = Store(tmp_path)
    with store.building("r") as builder:
        builder.finish([row()], SAMPLES)
    (tmp_path / "r" / "samples.parquet").write_bytes(b"PAR1")

    with pytest.raises(StoreError, match="delete the folder"):
        store.samples("r")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told_as_such():
    with pytest.raises(StoreError, match="full; finished runs are safe"), _told(Path("store")):
        Path("/dev/full").write_text("x")


def finished(path, run="r", **changes):
    store = Store(path)
    with store.building(run) as builder:
        builder.parts("4")
        builder.flush(0, {"a": np.arange(3)})
        builder.finish([row(run_id=run, **changes)], SAMPLES)
    return store


def test_a_finished_run_holds_its_tables_and_nothing_else(tmp_path):
    finished(tmp_path)

    assert ["measurements.parquet", "samples.parquet"] == sorted(names(tmp_path / "r"))


def test_a_replaced_run_leaves_nothing_behind(tmp_path):
    finished(tmp_path, status="failed", error="boom")
    finished(tmp_path)

    assert [".locks", "holdfast-store.json", "r"] == sorted(names(tmp_path))


def test_rows_of_the_runs_asked_for_alone(tmp_path):
    finished(tmp_path, "b")
    store = finished(tmp_path, "a")

    assert ["a", "b"] == store.runs() == store.measurements()["run_id"].to_list()
    assert ["b"] == store.measurements(["b"])["run_id"].to_list()


def test_what_is_left_of_a_replaced_run_is_no_run(tmp_path):
    store = finished(tmp_path)
    for rest in ("r.0123.old", "q.partial"):
        (tmp_path / rest).mkdir()
        (tmp_path / rest / "measurements.parquet").write_bytes(b"")

    assert ["r"] == store.runs()


def test_a_write_that_fails_halfway_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "x"
    target.write_text("old")

    def torn(path):
        path.write_text("ha")
        raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        store_module._write(target, torn)
    assert (["x"], "old") == (names(tmp_path), target.read_text())


def test_a_file_is_synced_before_it_has_its_name(tmp_path, monkeypatch):
    there = []
    monkeypatch.setattr(os, "fsync", lambda _: there.append((tmp_path / "x").exists()))
    store_module._write(tmp_path / "x", lambda path: path.write_text("new"))

    assert [False] == there


def test_a_store_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "s"):
        with pytest.raises(StoreError, match="choose another folder with --store"):
            Store(path)


def test_a_mark_that_another_process_is_writing_is_no_foreign_file(tmp_path):
    (tmp_path / "holdfast-store.json.0123.tmp").write_text("{")

    assert [] == Store(tmp_path).runs()


def test_a_table_without_a_column_is_refused(tmp_path):
    store = finished(tmp_path)
    path = tmp_path / "r" / "samples.parquet"
    pl.read_parquet(path).drop("nll").write_parquet(path)

    with pytest.raises(StoreError, match=r"lacks the columns \['nll'\]"):
        store.samples("r")


def test_broken_images_are_kept_by_ascending_id(tmp_path):
    store = Store(tmp_path)
    broken = pl.DataFrame({"id": [9, 4], "name": ["b", "a"], "reason": ["x", "y"]})
    with store.building("r") as builder:
        builder.parts("4")
        builder.finish([row()], SAMPLES, broken)

    assert [(4, "a", "y"), (9, "b", "x")] == store.broken("r").rows()
