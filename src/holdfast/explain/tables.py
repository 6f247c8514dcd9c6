"""Stores and tables of other projects as observations of models x conditions."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.core.specs import format_spec, parse_spec
from holdfast.core.wording import shortlist
from holdfast.explain.observations import CLEAN, OBSERVATION_COLUMNS, Observations
from holdfast.records.store import Store
from holdfast.records.testbed import RECORDINGS, read_testbed

_LEVELS = ("severity", "sigma", "eps")  # parameters of conditions that are levels
_BROKEN = "nonfinite_logits"
_KEY = ["model", "perturbation", "level", "metric"]


def observations_of_store(folder: str | Path, data: str | None = None) -> Observations:
    """Read what `holdfast measure` stored: conditions become perturbations and levels.

    `fog(severity=3)` is `fog` at 3, `gaussian_noise(sigma=0.1)` is `gaussian_noise` at 0.1, and
    `pgd(norm=linf, eps=8/255, steps=40)` is `pgd(norm=linf, steps=40)` at 8/255. Where one name has
    both severities and sigmas, the severities go by `NAME (severity)`.

    Args:
        folder: The store.
        data: Which data set; None takes the one that most models were measured on, and flags it.

    Raises:
        MissingError: No store.
        StoreError: One that cannot be read.
        BadValueError: Nothing in it that succeeded.
        UnknownNameError: No such data set.
    """
    rows = Store.existing(folder).measurements()
    failed = rows.filter(pl.col("status") != "ok")["run_id"].n_unique()
    rows = rows.filter(pl.col("status") == "ok")
    if rows.height == 0:
        raise BadValueError(f"the store {folder} has no measurement that succeeded")
    flags = [f"{failed} runs failed or were skipped and are left out"] if failed else []
    rows = _with_levels(_named(_of_data(rows, data, flags)))
    broken = rows.filter(pl.col("flags").list.contains(_BROKEN))["model"].unique().sort().to_list()
    if broken:
        flags.append(f"logits that are not finite, which count as wrong: {shortlist(broken)}")
    twice = rows.filter(rows.select(_KEY).is_duplicated())
    if twice.height:
        models = sorted(set(twice["model"]))
        flags.append(
            f"{shortlist(models)}: a condition was measured twice, under another view, seed or "
            "precision; the first run counts"
        )
        rows = rows.unique(_KEY, keep="first", maintain_order=True)
    frame = rows.select(pl.col(name).cast(kind) for name, kind in OBSERVATION_COLUMNS.items())
    named = frame.select("model").unique(maintain_order=True)
    return Observations(frame, named, f"the store {folder}", tuple(flags))


def observations_of_testbed(path: str | Path, recording: str = "on-disk") -> Observations:
    """Read a table in the layout of imagenet-testbed; see `holdfast.records.testbed`.

    Args:
        path: The file.
        recording: `on-disk` or `in-memory`, of corruptions that have both. They are two
            measurements, so levels of one corruption are never taken from both. A corruption that
            has the other alone is taken from it, and flagged.

    Raises:
        MissingError: No such file.
        BadValueError: A file that is no such table.
        StoreError: A file that cannot be read.
        UnknownNameError: Another recording.
    """
    if recording not in RECORDINGS:
        raise unknown_name("recording", recording, RECORDINGS)
    table = read_testbed(path)
    flags = list(table.flags)
    rows = _of_recording(table.rows, recording, flags)
    if rows.filter(pl.col("test_set") == CLEAN).height == 0:
        flags.append(
            "the table has no column `val` of clean accuracies: there are no drops and no rank "
            "differences, and slopes are over the levels alone"
        )
    frame = rows.with_columns(
        pl.col("test_set").alias("perturbation"),
        pl.lit("accuracy").alias("metric"),
        pl.lit(None, dtype=pl.Int64).alias("count"),
    ).select(pl.col(name).cast(kind) for name, kind in OBSERVATION_COLUMNS.items())
    return Observations(frame, table.attributes, f"the table {Path(path).name}", tuple(flags))


def _of_recording(rows: pl.DataFrame, recording: str, flags: list[str]) -> pl.DataFrame:
    known = rows.select("test_set", "recording").unique(maintain_order=True)
    taken: dict[str, str | None] = {}
    for name in dict.fromkeys(known["test_set"]):
        there = known.filter(pl.col("test_set") == name)["recording"].to_list()
        taken[name] = recording if recording in there else min(there, key=lambda one: one or "")
    others = [name for name, one in taken.items() if one not in {recording, None}]
    if others:
        other = next(one for one in RECORDINGS if one != recording)
        flags.append(f"{shortlist(others)}: there is no {recording} recording, {other} is taken")
    chosen = pl.DataFrame(
        {"test_set": list(taken), "recording": list(taken.values())},
        schema={"test_set": pl.String, "recording": pl.String},
    )
    return rows.join(
        chosen, on=["test_set", "recording"], how="semi", nulls_equal=True, maintain_order="left"
    )


def _of_data(rows: pl.DataFrame, data: str | None, flags: list[str]) -> pl.DataFrame:
    rows = rows.with_columns(pl.format("{} {}", "data", "split").alias("set"))
    names = sorted(set(rows["data"]))
    if data is not None and data not in names:
        raise unknown_name("data set of this store", data, names)
    if data is not None:
        rows = rows.filter(pl.col("data") == data)
    counts = rows.group_by("set").agg(pl.col("model").n_unique()).sort(["model", "set"])
    chosen = counts["set"][-1]
    if counts.height > 1:
        left = [name for name in counts["set"] if name != chosen]
        flags.append(f"{chosen} alone is read, which most models have; left out: {shortlist(left)}")
    return rows.filter(pl.col("set") == chosen)


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Models of one name and several weights are told apart by the start of their digest."""
    several = rows.group_by("model").agg(pl.col("weights_digest").n_unique().alias("kinds"))
    twice = several.filter(pl.col("kinds") > 1)["model"].to_list()
    digest = pl.col("weights_digest").str.slice(0, 8)
    return rows.with_columns(
        pl.when(pl.col("model").is_in(twice))
        .then(pl.format("{} [{}]", "model", digest))
        .otherwise(pl.col("model"))
        .alias("model")
    )


def _with_levels(rows: pl.DataFrame) -> pl.DataFrame:
    conditions = rows.select("condition", "severity", "sigma", "eps").unique(maintain_order=True)
    read = {}
    for condition, *levels in conditions.iter_rows():
        name, parameter = _perturbation(condition)
        level = next((float(one) for one in levels if one is not None), None)
        read[condition] = (name, parameter, 0.0 if name == CLEAN else level)
    parameters: dict[str, set[str]] = {}
    for name, parameter, _ in read.values():
        parameters.setdefault(name, set()).add(parameter)
    mixed = {name for name, found in parameters.items() if {"severity", "sigma"} <= found}
    written = {
        condition: (f"{name} (severity)" if name in mixed and parameter == "severity" else name)
        for condition, (name, parameter, _) in read.items()
    }
    return rows.with_columns(
        pl.col("condition").replace_strict(written, return_dtype=pl.String).alias("perturbation"),
        pl.col("condition")
        .replace_strict(
            {condition: level for condition, (_, _, level) in read.items()},
            return_dtype=pl.Float64,
        )
        .alias("level"),
    )


def _perturbation(condition: str) -> tuple[str, str]:
    """Name without the level, and which parameter the level is."""
    try:
        spec = parse_spec(condition)
    except BadValueError:
        return condition, ""  # a sum of attacks, or a set: its own name is all there is
    arguments = dict(spec.arguments)
    parameter = next((name for name in _LEVELS if name in arguments), "")
    arguments.pop(parameter, None)
    return format_spec(spec.name, arguments), parameter
