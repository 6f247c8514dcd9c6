"""Stores as observations."""

from __future__ import annotations

import polars as pl
import pytest

from holdfast.core.errors import BadValueError, MissingError, UnknownNameError
from holdfast.explain.tables import _with_levels, observations_of_store
from holdfast.records.store import Store
from report.make_store import add_run, samples_of


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "s")


def add(store, model, condition, value, **changes):
    metrics = {"accuracy": {"value": value, "count": 100}, "ece": {"value": 0.1, "count": 100}}
    add_run(store, model, condition, samples_of(1, "clean", 10), metrics=metrics, **changes)


def read(found, metric="accuracy"):
    rows = found.rows.filter(found.rows["metric"] == metric)
    return set(rows.select("model", "perturbation", "level", "value").iter_rows())


def test_conditions_become_perturbations_and_levels(store):
    add(store, "m", "clean", 0.9)
    add(store, "m", "fog(severity=3)", 0.7)
    add(store, "m", "gaussian_noise(sigma=0.1)", 0.6)
    add(store, "m", "pgd(norm=linf, eps=8/255, steps=40)", 0.2, family="attack", eps=8 / 255)
    found = observations_of_store(store.path)

    assert read(found) == {
        ("m", "clean", 0.0, 0.9),
        ("m", "fog", 3.0, 0.7),
        ("m", "gaussian_noise", 0.1, 0.6),
        ("m", "pgd(norm=linf, steps=40)", 8 / 255, 0.2),
    }
    assert len(read(found, "ece")) == 4
    assert found.rows["count"].unique().to_list() == [100]
    assert found.flags == ()


def test_severities_and_sigmas_of_one_noise_are_two_perturbations(store):
    add(store, "m", "gaussian_noise(severity=3)", 0.7)
    add(store, "m", "gaussian_noise(sigma=0.1)", 0.6)

    assert read(observations_of_store(store.path)) == {
        ("m", "gaussian_noise (severity)", 3.0, 0.7),
        ("m", "gaussian_noise", 0.1, 0.6),
    }


@pytest.mark.parametrize("first", ["fog(severity=3)", "gaussian_noise(sigma=0.1)", "clean"])
def test_levels_of_any_kind_may_come_first(tmp_path, first):
    conditions = ["clean", "fog(severity=3)", "gaussian_noise(sigma=0.1)"]
    conditions.sort(key=lambda one: one != first)
    rows = [(one, *_levels(one)) for one in conditions]
    frame = pl.DataFrame(
        rows,
        schema={"condition": str, "severity": pl.Int64, "sigma": pl.Float64, "eps": pl.Float64},
        orient="row",
    )
    found = _with_levels(frame)

    assert dict(found.select("perturbation", "level").iter_rows()) == {
        "clean": 0.0,
        "fog": 3.0,
        "gaussian_noise": 0.1,
    }


def _levels(condition):
    return {"clean": (None, None, None), "fog(severity=3)": (3, None, None)}.get(
        condition, (None, 0.1, None)
    )


def test_the_data_set_of_most_models_is_read_and_the_others_flagged(store):
    add(store, "a", "clean", 0.9)
    add(store, "b", "clean", 0.8)
    add(store, "a", "clean", 0.5, data="cars")
    found = observations_of_store(store.path)

    assert {value for *_, value in read(found)} == {0.9, 0.8}
    assert "cars test" in found.flags[0]
    assert read(observations_of_store(store.path, "cars")) == {("a", "clean", 0.0, 0.5)}
    with pytest.raises(UnknownNameError, match="data set"):
        observations_of_store(store.path, "dogs")


def test_what_was_measured_twice_counts_once_and_weights_are_told_apart(store):
    add(store, "a", "clean", 0.9)
    add(store, "a", "clean", 0.8, seed=1)
    add(store, "b", "clean", 0.7)
    add(store, "b", "clean", 0.6, weights_digest="0123456789")
    found = observations_of_store(store.path)

    names = sorted(model for model, *_ in read(found))
    assert names[0] == "a" and len(names) == 3
    assert "b [01234567]" in names
    assert "measured twice" in found.flags[0]


def test_no_store_and_an_empty_one(store, tmp_path):
    with pytest.raises(MissingError, match="no store"):
        observations_of_store(tmp_path / "none")
    with pytest.raises(BadValueError, match="no measurement that succeeded"):
        observations_of_store(store.path)
