"""RobustBench's `model_info`: one JSON file a model, read to rows and written from records.

A file lies at DATASET/THREAT/MODEL.json; the threat model (`Linf`, `L2`, `corruptions`) stands
in the folder's name only. Accuracies are texts in percent, eps is a text such as "8/255" or
"0.5", and what is unknown is absent, null or empty.

Source: Croce et al. 2021, arXiv:2010.09670; the files of github.com/RobustBench/robustbench.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.records.flags import TOO_HIGH

# Column `metric` -> the field that holds it.
_NUMBERS = {
    "clean_accuracy": "clean_acc",
    "robust_accuracy": "autoattack_acc",  # under AutoAttack standard
    "external_accuracy": "external",  # under the strongest other attack known
    "reported_accuracy": "reported",  # by the model's authors, for the threat of the folder
    "corruption_accuracy": "corruptions_acc",
    "corruption_accuracy_3d": "corruptions_acc_3d",
    "mce": "corruptions_mce",
    "mce_3d": "corruptions_mce_3d",
}
_NUMBER = re.compile(r"\d{1,40}(\.\d{0,40})?(/0*[1-9]\d{0,9})?")
_ABSENT = ("", "null")  # one file has the word
_NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}
_THREATS = (*_NORMS, "corruptions", "corruptions_3d")
_SHORT = 5  # characters of a decimal eps that reads better than a fraction of 255, such as 0.031
_WORDS = ("name", "authors", "venue", "link", "architecture", "footnote")

MODEL_INFO_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "dataset": pl.String,
    "threat": pl.String,
    "norm": pl.String,
    "eps": pl.Float64,
    "metric": pl.String,
    "value": pl.Float64,
    "architecture": pl.String,
    "additional_data": pl.Boolean,
    "number_forward_passes": pl.Int64,
    "unreliable": pl.Boolean,
    "name": pl.String,
    "authors": pl.String,
    "venue": pl.String,
    "link": pl.String,
    "footnote": pl.String,
}


class ModelInfo(BaseModel):
    """What a file says besides its numbers; None or empty where nobody said it.

    Attributes:
        name: Title of the paper.
        authors: Names, separated by commas.
        venue: Where it was published.
        link: To the paper.
        architecture: Such as WideResNet-28-10.
        dataset: Such as cifar10; None takes the records' data.
        additional_data: Whether other data than the dataset's was trained on.
        number_forward_passes: Of a prediction.
        reported: Robust accuracy that the authors report, a fraction.
        footnote: Anything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    authors: str = ""
    venue: str = ""
    link: str = ""
    architecture: str = ""
    dataset: str | None = None
    additional_data: bool | None = None
    number_forward_passes: int = Field(default=1, ge=1)
    reported: float | None = None
    footnote: str = ""


def read_model_info(path: str | Path) -> pl.DataFrame:
    """Read a JSON file, or all below a folder: one row a published number.

    Columns are `MODEL_INFO_COLUMNS`: `value` and `eps` as fractions and pixel units of [0, 1], mCE
    as a ratio, and null for what a file does not say. Dataset, threat and norm come from the
    folders DATASET/THREAT; in folders of other names the dataset is what the file says and the
    others are null. A number that a file lacks or leaves empty has no row. RobustBench's boards
    rank by the lower of `robust_accuracy` and `external_accuracy`.

    Raises:
        MissingError: No such file or folder, or no JSON file in it.
        BadValueError: A file that is no such JSON; the message names it.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise MissingError(
            f"no model_info at {path}: expected a JSON file of RobustBench, or a folder with some"
        )
    rows = [row for file in files for row in _Entry(file).rows()]
    return pl.DataFrame(rows, schema=MODEL_INFO_COLUMNS)


class _Entry:
    """One file, checked field by field."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            body = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise MissingError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"it is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise self._wrong(f"expected one object with fields, got a {type(body).__name__}")
        self._body = body

    def rows(self) -> Iterator[dict[str, Any]]:
        folder = self._path.absolute().parent
        threat = folder.name if folder.name in _THREATS else None
        common = {
            "model": self._path.stem,
            # Of CIFAR-100's files some say that they are of CIFAR-10; RobustBench goes by folder.
            "dataset": self._word("dataset") if threat is None else folder.parent.name,
            "threat": threat,
            "norm": _NORMS.get(threat or ""),
            "eps": self._number("eps"),
            "additional_data": self._typed("additional_data", bool),
            "number_forward_passes": self._passes(),
            "unreliable": self._typed("unreliable", bool),
            **{field: self._word(field) for field in _WORDS},
        }
        for metric, field in _NUMBERS.items():
            percent = self._number(field)
            if percent is None:
                continue
            if percent > 100 and not metric.startswith("mce"):
                raise self._wrong(f"{field} must be in percent, 0 to 100, got {percent}")
            yield {**common, "metric": metric, "value": self._number(field, over=100)}

    def _number(self, field: str, *, over: int = 1) -> float | None:
        """A field that is a number, or the text of one or of a fraction; rounded once."""
        value = self._body.get(field)
        text = "" if value is None else str(value).strip()
        if text in _ABSENT:
            return None
        if type(value) not in (str, int, float) or not _NUMBER.fullmatch(text):
            raise self._wrong(
                f'{field} must be a number from 0 such as "8/255", "0.5" or 68.38, got {value!r}'
            )
        whole, _, divisor = text.partition("/")
        return float(Fraction(whole) / int(divisor or 1) / over)

    def _word(self, field: str) -> str | None:
        return self._typed(field, str) or None

    def _passes(self) -> int | None:
        count = self._typed("number_forward_passes", int)
        if count is not None and not 0 < count < 2**63:
            raise self._wrong(f"number_forward_passes must be from 1, got {count}")
        return count

    def _typed(self, field: str, kind: type) -> Any:
        value = self._body.get(field)
        if value is not None and type(value) is not kind:
            raise self._wrong(f"{field} must be a {kind.__name__}, got {value!r}")
        return value

    def _wrong(self, what: str) -> BadValueError:
        return BadValueError(
            f"{self._path} is no model_info of RobustBench: {what}; mend or remove the file"
        )


def write_model_info(
    path: str | Path, measurements: pl.DataFrame, info: ModelInfo | None = None
) -> Path:
    """Write the JSON file of one model from its rows of a store.

    Taken are the accuracy on clean images and under `autoattack` (its standard version where
    several were run). `unreliable` says whether a flag of that run casts doubt on it. Reading the
    file gives the numbers of the rows, to the bit.

    Args:
        path: Of the file; RobustBench puts it at DATASET/THREAT/MODEL.json.
        measurements: Rows as `Store.measurements` gives them, of one model on one dataset, with
            AutoAttack at one norm and eps; filter them before.
        info: What the rows do not say.

    Returns:
        The path.

    Raises:
        BadValueError: No row or several for one of the two numbers, or one without a value.
        StoreError: The file cannot be written.
    """
    info = info or ModelInfo()
    rows = measurements.filter((pl.col("metric") == "accuracy") & (pl.col("status") == "ok"))
    attacked = _one(_autoattack(rows), "accuracy under autoattack")
    cleans = rows.filter(pl.col("condition") == "clean")
    # A store may hold other choices of images of the same set as well.
    same = cleans.filter(pl.col("data_digest") == attacked["data_digest"])
    clean = _one(cleans if same.is_empty() else same, "clean accuracy")
    for column in ("model", "weights_digest", "data", "data_digest", "split"):
        if clean[column] != attacked[column]:
            raise BadValueError(
                f"clean and robust accuracy must be of one model on one dataset, but {column} "
                f"is {clean[column]!r} and {attacked[column]!r}; filter the rows by {column}"
            )
    body = {
        **{field: getattr(info, field) for field in _WORDS if field != "footnote"},
        "dataset": info.dataset or clean["data"],
        "additional_data": info.additional_data,
        "number_forward_passes": info.number_forward_passes,
        "eps": _eps_text(attacked["eps"]),
        "clean_acc": _percent(clean["value"]),
        "reported": "" if info.reported is None else _percent(info.reported),
        "autoattack_acc": _percent(attacked["value"]),
        "footnote": info.footnote,
        "unreliable": not TOO_HIGH.isdisjoint(attacked["flags"] or ()),
    }
    return _write(Path(path), json.dumps(body, indent=2, ensure_ascii=False) + "\n")


def _autoattack(rows: pl.DataFrame) -> pl.DataFrame:
    text = pl.col("condition")
    found = rows.filter(text.str.starts_with("autoattack(") & pl.col("eps").is_not_null())
    standard = found.filter(~text.str.contains("version=") | text.str.contains("version=standard"))
    return found if standard.is_empty() else standard


def _one(rows: pl.DataFrame, what: str) -> dict[str, Any]:
    if len(rows) != 1:
        keys = ("model", "data", "count", "condition", "eps", "seed")
        listed = ["; ".join(f"{key} {row[key]}" for key in keys) for row in rows.to_dicts()]
        raise BadValueError(
            f"expected one row with the {what}, got {len(rows)}"
            + (f": {' | '.join(listed[:5])}; filter the rows" if listed else "; measure it first")
        )
    row = rows.row(0, named=True)
    if row["value"] is None or not math.isfinite(row["value"]):
        raise BadValueError(
            f"the {what} of {row['model']} has no value, for it rests on {row['count']} images; "
            "measure it on some"
        )
    return row


def _percent(fraction: float) -> str:
    """Percent with two decimals or more: as many as give the fraction back."""
    percent = (100 * Decimal(repr(fraction))).normalize()
    places = -int(percent.as_tuple().exponent)
    return f"{percent:.2f}" if places < 2 else f"{percent:f}"


def _eps_text(eps: float) -> str:
    decimal, levels = f"{Decimal(repr(eps)):f}", round(255 * eps)
    return f"{levels}/255" if len(decimal) > _SHORT and levels / 255 == eps else decimal


def _write(path: Path, text: str) -> Path:
    """Write beside `path` and rename: a reader sees the whole file or none."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path
