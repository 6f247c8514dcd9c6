"""Design attributes of the models of a table: computed, from the table, and from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError, HoldfastError, MissingError
from holdfast.explain.anatomy import Progress, anatomies, anatomy, anatomy_frame, failed_row
from holdfast.explain.observations import Observations
from holdfast.explain.rules.naming import TIMM, Resolved, Resolver
from holdfast.records.explanations import ANATOMY_COLUMNS
from holdfast.records.testbed import read_attributes

# What names tell of training; null where a model is not known, else yes or no.
TRAINING_COLUMNS = ("more_data", "adversarial", "augmented", "less_training", "self_supervised")
# Columns that say where a row came from, beside those of the anatomy.
ABOUT_COLUMNS = ("model", "resolved", "how", "recipe", "failed")
_ORDINARY = {None, "in1k"}  # pretraining data that is no more than everybody's
_BLUR = {
    "anti_aliased": True, "downsampling": "blur pools", "shortcut_downsampling": "blur pools",
}  # fmt: skip
_GIVEN = "given"  # recorded as the way in which a model's attributes are known
_SHOWN = 6
Tracer = Callable[[Sequence[str]], pl.DataFrame]


@dataclass(frozen=True)
class Described:
    """Attributes of models.

    Attributes:
        table: One row a model, in the order asked: `ABOUT_COLUMNS`, those of the anatomy without
            its own `model`, `TRAINING_COLUMNS`, and further ones of the table or of a file.
            `resolved` is what the name means, null where it is not known; `how` says how it was
            found or why not; `recipe` is what decides the weights: the tag, or what the name says.
        extra: Names of the further columns.
        flags: What to doubt, one sentence each.
    """

    table: pl.DataFrame
    extra: tuple[str, ...]
    flags: tuple[str, ...]


def describe(
    observations: Observations,
    given: pl.DataFrame | None = None,
    *,
    trace: Tracer | None = None,
) -> Described:
    """Attributes of all models of a table.

    Names are resolved (`holdfast.explain.rules.naming`) and their anatomies computed; columns of
    the table itself win over those, and `given` over both, cell by cell.

    Args:
        observations: The table.
        given: One row a model: `model` and attributes.
        trace: Computes anatomies of names; None is `trace_names`.

    Raises:
        BadValueError: `given` has no column `model`, or a model twice.
    """
    names = sorted(set(observations.rows["model"]))
    own = observations.attributes
    known = dict(own.select("model", "timm_name").iter_rows()) if "timm_name" in own.columns else {}
    resolver = Resolver()
    found = {name: _resolve(resolver, name, known.get(name)) for name in names}
    wanted = sorted({one.model for one in found.values() if one.model is not None})
    traced = (trace or trace_names)(wanted) if wanted else anatomy_frame([])
    rows = _rows(found, traced)
    flags = _flags(found, rows)
    table = pl.DataFrame(rows, schema=_schema(), orient="row")
    extra: list[str] = []
    for source in (own.drop("timm_name", strict=False), given):
        if source is not None and source.width > 1:
            table, more, told = _overlaid(table, source)
            extra += [name for name in more if name not in extra]
            flags += told
    if extra:
        flags.append(f"further columns that count as attributes: {_list(extra)}")
    return Described(table, tuple(extra), tuple(flags))


def read_given(path: str | Path) -> pl.DataFrame:
    """Read a file of attributes, CSV or Parquet: a column `model`, and attributes.

    Raises:
        MissingError: No such file.
        BadValueError: No column `model`, a model twice, or no table.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"no file {path}; expected attributes, with a column `model`")
    if path.suffix != ".parquet":
        return read_attributes(path)
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadValueError(f"{path} is no Parquet file that we can read: {error}") from error
    _check_given(frame)
    odd = [
        name for name in frame.columns if frame[name].dtype.is_nested() or _is_binary(frame[name])
    ]
    if odd:
        raise BadValueError(
            f"{path}: attributes must be numbers, texts or yes and no, got {frame[odd[0]].dtype} "
            f"in {odd[0]}; drop the column"
        )
    return frame.with_columns(
        pl.col(name).cast(pl.String) for name in frame.columns if frame[name].dtype.is_temporal()
    )


def _is_binary(column: pl.Series) -> bool:
    return column.dtype in {pl.Binary, pl.Object}


def trace_names(
    names: Sequence[str], *, jobs: int = 1, told: Callable[[Progress], None] | None = None
) -> pl.DataFrame:
    """Anatomies of names; those of timm are kept between runs.

    What cannot be built or does not run is a row with the status `failed`.

    Args:
        names: As `holdfast explain anatomy` takes them.
        jobs: Processes for those of timm; 0: as many as cores, which a script must guard by
            `if __name__ == "__main__"`.
        told: Called with progress.
    """
    ours = {name.removeprefix(TIMM): name for name in names if name.startswith(TIMM)}
    rows: list[dict[str, Any]] = []
    for found in anatomies(list(ours), jobs=jobs):
        if isinstance(found, Progress):
            if told is not None:
                told(found)
        else:
            rows.append(found | {"model": ours[found["model"]]})
    for name in names:
        if not name.startswith(TIMM):
            try:
                rows.append(anatomy(name) | {"model": name})
            except (HoldfastError, RuntimeError, TypeError, ValueError) as error:
                rows.append(failed_row(name, error))
    return anatomy_frame(rows)


def _resolve(resolver: Resolver, name: str, known: str | None) -> Resolved:
    """A name; where the table itself says which of timm's it is, that."""
    found = resolver.resolve(known or name)
    return Resolved(name, found.model, found.how, found.recipe, found.training, found.exact)


def _schema() -> dict[str, Any]:
    about = dict.fromkeys(ABOUT_COLUMNS, pl.String)
    computed = {name: kind for name, kind in ANATOMY_COLUMNS.items() if name != "model"}
    return {**about, **computed, **dict.fromkeys(TRAINING_COLUMNS, pl.Boolean)}


def _rows(found: Mapping[str, Resolved], traced: pl.DataFrame) -> list[dict[str, Any]]:
    by_name = {row["model"]: row for row in traced.iter_rows(named=True)}
    rows = []
    for name, one in found.items():
        row = dict.fromkeys(_schema())
        computed = by_name.get(one.model or "")
        if computed is not None:
            row |= _computed(computed, one)
        row |= {"model": name, "resolved": one.model, "how": one.how}
        rows.append(row)
    return rows


def _computed(row: dict[str, Any], one: Resolved) -> dict[str, Any]:
    """An anatomy, changed by what the name says of it."""
    if row["status"] != "ok":
        return {"failed": row["error"]}
    found = dict(row)
    if "blur pools" in one.training:
        found |= _BLUR
    if "test size changed" in one.training:
        found["input_size"] = None
    if "clip" in one.training:
        found |= {"pretraining": "clip"}
    if not one.exact:
        found["tag"] = None  # that of the default weights, which need not be these
    found |= {
        "recipe": " ".join(part for part in (found["tag"], one.recipe) if part),
        "more_data": _more_data(found, one),
        "adversarial": "adversarial" in one.training or found["objective"] == "adversarial",
        "augmented": "augmented" in one.training,
        "less_training": "less training" in one.training,
        "self_supervised": "self-supervised" in one.training,
    }
    return found


def _more_data(found: dict[str, Any], one: Resolved) -> bool | None:
    """Whether training saw more than ImageNet-1k; None where nothing says so."""
    if one.training & {"more data", "clip"}:
        return True
    data = found["pretraining_data"]
    return None if data is None and found["pretraining"] is None else data not in _ORDINARY


def _overlaid(
    table: pl.DataFrame, source: pl.DataFrame
) -> tuple[pl.DataFrame, list[str], list[str]]:
    """The table with the cells of a source where it has them; its new columns; flags."""
    _check_given(source)
    flags = []
    strangers = source.join(table, on="model", how="anti")["model"].to_list()
    if strangers:
        flags.append(f"attributes of models that the table lacks: {_list(strangers)}")
    reserved = set(ABOUT_COLUMNS) - {"model", "recipe"}
    columns = [name for name in source.columns if name not in {"model", *reserved}]
    joined = table.join(
        source.select("model", pl.col(columns).name.suffix("::given")),
        on="model", how="left", maintain_order="left",
    )  # fmt: skip
    updates = []
    for name in columns:
        new = pl.col(f"{name}::given")
        if name not in table.columns:
            updates.append(new.alias(name))
            continue
        kind = table.schema[name]
        read = _cast(joined[f"{name}::given"], kind)
        odd = int((joined[f"{name}::given"].is_not_null() & read.is_null()).sum())
        if odd:
            flags.append(
                f"{odd} cells of the attribute {name} are no {_word(kind)} and are passed over"
            )
        joined = joined.with_columns(read.alias(f"{name}::given"))
        updates.append(pl.coalesce(new, pl.col(name)).alias(name))
    some = pl.any_horizontal(pl.col(f"{name}::given").is_not_null() for name in columns)
    given = joined.select(some.fill_null(value=False)).to_series()
    joined = joined.with_columns(
        *updates,
        pl.when(pl.col("resolved").is_null() & given)
        .then(pl.lit(_GIVEN))
        .otherwise(pl.col("resolved"))
        .alias("resolved"),
    )
    new_names = [name for name in columns if name not in table.columns]
    return joined.select(*table.columns, *new_names), new_names, flags


def _cast(column: pl.Series, kind: Any) -> pl.Series:
    if kind == pl.Boolean and column.dtype == pl.String:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        lowered = column.str.to_lowercase()
        return lowered.replace_strict(words, default=None, return_dtype=pl.Boolean)
    if kind == pl.Int64:
        return column.cast(pl.Float64, strict=False).round().cast(pl.Int64, strict=False)
    return column.cast(kind, strict=False)


def _word(kind: Any) -> str:
    words = {pl.Int64: "whole number", pl.Float64: "number", pl.Boolean: "yes or no"}
    return words.get(kind, "text")


def _check_given(frame: pl.DataFrame) -> None:
    if "model" not in frame.columns:
        raise BadValueError(
            f"attributes need a column `model`; got {', '.join(frame.columns[:_SHOWN])}"
        )
    if frame["model"].dtype not in {pl.String, pl.Categorical, pl.Enum}:
        raise BadValueError(
            f"the column `model` of attributes must hold names, got {frame['model'].dtype}"
        )
    if frame["model"].null_count():
        raise BadValueError("attributes have a row without a model's name; drop it")
    twice = frame.filter(frame["model"].is_duplicated())["model"].to_list()
    if twice:
        raise BadValueError(f"attributes have {twice[0]} twice; keep one row of it")


def _flags(found: Mapping[str, Resolved], rows: Iterable[dict[str, Any]]) -> list[str]:
    flags = []
    lost = [name for name, one in found.items() if one.model is None]
    if lost:
        flags.append(
            f"{len(lost)} of {len(found)} names are of no network that we know, so these models "
            f"have slopes and no attributes unless a file gives them: {_list(lost)}"
        )
    loose = [name for name, one in found.items() if one.model is not None and not one.exact]
    if loose:
        flags.append(
            f"{len(loose)} names tell the architecture and not the weights ({_list(loose)}): "
            "pretraining is that of timm's default weights, changed by what the name says"
        )
    failed = [row for row in rows if row["failed"]]
    if failed:
        first = failed[0]
        flags.append(
            f"no anatomy of {_list([row['model'] for row in failed])}, the first because: "
            f"{first['failed']}"
        )
    return flags


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
