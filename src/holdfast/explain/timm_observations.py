"""timm's tables of results as observations of models x conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.core.wording import shortlist
from holdfast.explain.observations import CLEAN, OBSERVATION_COLUMNS, Observations
from holdfast.records.timm_tables import read_timm_results

_MILLION = 1e6
_PREFIX = "results-"


def observations_of_timm(
    base: str | Path, variants: Sequence[str | Path], *, sizes: bool = False
) -> Observations:
    """Read a clean table and tables of other test sets over the same classes.

    A condition is called after its file: `results-imagenet-a.csv` is `imagenet-a`. It has no level.
    The metrics are `accuracy` and `top5_accuracy`. A model that a table lists at several image
    sizes is one model a size, named `MODEL-SIZE`; the others keep timm's name. Attributes, named as
    in `ANATOMY_COLUMNS` where it has them: `timm_name`, `input_size`, `parameters`,
    `crop_fraction`, `interpolation`.

    Args:
        base: The clean table, such as results-imagenet.csv; for ImageNet-A and -R, which have 200
            classes, timm's own is results-imagenet-a-clean.csv or -r-clean.csv.
        variants: The others.
        sizes: Name all models `MODEL-SIZE`.

    Raises:
        MissingError: A file is not there.
        BadValueError: A file with other columns or bad values, or two variants of one name.
        StoreError: A file cannot be read.
    """
    names = [CLEAN, *(condition_name(path) for path in variants)]
    if len(set(names)) != len(names):
        raise BadValueError(f"conditions need different names, got {', '.join(names[1:])}")
    tables = [read_timm_results(path) for path in (base, *variants)]
    several = _several(tables)
    named = [_named(table, several, everywhere=sizes) for table in tables]
    rows = pl.concat([_rows(table, name) for table, name in zip(named, names, strict=True)]).filter(
        pl.col("value").is_not_null()
    )
    about = pl.concat([_about(table) for table in named]).unique("model", maintain_order=True)
    read = ", ".join(Path(path).name for path in (base, *variants))
    return Observations(rows, about, f"timm's results: {read}", tuple(_flags(named, names)))


def condition_name(path: str | Path) -> str:
    """Name of the condition that a table of results holds, from its file."""
    return Path(path).stem.removeprefix(_PREFIX)


def _several(tables: Sequence[pl.DataFrame]) -> set[str]:
    """Models that some table lists at several sizes, or two tables at different ones."""
    pairs = pl.concat([table.select("model", "img_size") for table in tables]).unique()
    counts = pairs.group_by("model").len()
    return set(counts.filter(pl.col("len") > 1)["model"])


def _named(table: pl.DataFrame, several: set[str], *, everywhere: bool) -> pl.DataFrame:
    sized = pl.format("{}-{}", "model", "img_size")
    chosen = pl.lit(everywhere) | pl.col("model").is_in(sorted(several))
    return table.with_columns(
        pl.col("model").alias("timm_name"),
        pl.when(chosen).then(sized).otherwise(pl.col("model")).alias("model"),
    )


def _rows(table: pl.DataFrame, name: str) -> pl.DataFrame:
    metrics = {"top1": "accuracy", "top5": "top5_accuracy"}
    long = table.unpivot(list(metrics), index="model", variable_name="metric")
    level = 0.0 if name == CLEAN else None
    return long.with_columns(
        pl.col("metric").replace(metrics),
        pl.lit(name).alias("perturbation"),
        pl.lit(level, dtype=pl.Float64).alias("level"),
        pl.lit(None, dtype=pl.Int64).alias("count"),
    ).select(pl.col(column).cast(kind) for column, kind in OBSERVATION_COLUMNS.items())


def _about(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        "model",
        "timm_name",
        pl.col("img_size").alias("input_size"),
        (pl.col("param_count") * _MILLION).round().cast(pl.Int64).alias("parameters"),
        pl.col("crop_pct").alias("crop_fraction"),
        "interpolation",
    )


def _flags(tables: Sequence[pl.DataFrame], names: Sequence[str]) -> list[str]:
    flags = []
    base = set(tables[0]["model"])
    for table, name in zip(tables[1:], names[1:], strict=True):
        lacking = sorted(set(table["model"]) - base)
        if lacking:
            flags.append(f"the clean table lacks {shortlist(lacking)}, which {name} has")
    return flags
