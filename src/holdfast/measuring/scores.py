"""What is kept of a part's outcomes: arrays that merge to the same numbers in any grouping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from holdfast.data import Broken
from holdfast.measuring.pictures import Pictures
from holdfast.metrics import ClasswiseBins, softmax, softmax_scores
from holdfast.perturb.base import Outcome
from holdfast.records import BROKEN_COLUMNS, SAMPLE_COLUMNS

Arrays = dict[str, np.ndarray]
# Prefixes of the arrays' names.
_SAMPLE, _CLASSWISE, _BROKEN, _PICTURE = "sample_", "classwise_", "broken_", "picture_"


class PartScores:
    """Collects the outcomes of one part."""

    def __init__(self, classes: int) -> None:
        self._columns: list[Arrays] = []
        self._classwise = ClasswiseBins.empty(classes)
        self._flags: set[str] = set()
        self._pictures = Pictures()
        self.count = 0

    def add(self, outcome: Outcome) -> None:
        """Score some outcomes of this part."""
        logits = outcome.logits.detach().cpu().double().numpy()
        labels = outcome.labels.cpu().numpy()
        scores = softmax_scores(logits, labels)
        self._classwise = self._classwise.add(softmax(logits), labels)
        self._flags |= outcome.flags
        if (scores.prediction < 0).any():
            self._flags.add("nonfinite_logits")
        self._pictures.add(outcome)
        self.count += len(labels)
        self._columns.append(
            {
                "id": outcome.ids.cpu().numpy(),
                "label": labels,
                "prediction": scores.prediction,
                "confidence": scores.confidence,
                "correct": scores.correct,
                "top5": scores.top5,
                "nll": scores.nll,
                "brier": scores.brier,
                "forward_evals": outcome.forward_evals.cpu().numpy(),
                "gradient_evals": outcome.gradient_evals.cpu().numpy(),
                **{name: column.cpu().numpy() for name, column in outcome.extra.items()},
            }
        )

    def arrays(self, broken: list[Broken], seconds: float) -> Arrays:
        """All of it as plain arrays."""
        names = self._columns[0] if self._columns else {}
        result = {_SAMPLE + n: np.concatenate([c[n] for c in self._columns]) for n in names}
        result |= {_CLASSWISE + k: v for k, v in _sparse(self._classwise).items()}
        result[f"{_BROKEN}id"] = np.array([b.id for b in broken], dtype=np.int64)
        result[f"{_BROKEN}name"] = np.array([_plain(b.name) for b in broken], dtype=np.str_)
        result[f"{_BROKEN}reason"] = np.array([_plain(b.reason) for b in broken], dtype=np.str_)
        result |= {_PICTURE + k: v for k, v in self._pictures.to_arrays().items()}
        result["flags"] = np.array(sorted(self._flags), dtype=np.str_)
        result["seconds"] = np.array(seconds)
        result["count"] = np.array(self.count)
        return result


class RunScores:
    """The parts of a run, merged."""

    def __init__(self, parts: Iterable[Arrays]) -> None:
        self.seconds = 0.0
        self.flags: set[str] = set()
        self.classwise: ClasswiseBins | None = None
        self.pictures = Pictures()
        samples, broken = [], []
        for arrays in parts:
            self.seconds += float(arrays["seconds"])
            self.flags |= {str(flag) for flag in arrays["flags"]}
            bins = _dense(_under(_CLASSWISE, arrays))
            self.classwise = bins if self.classwise is None else self.classwise.merge(bins)
            self.pictures.merge(Pictures.from_arrays(_under(_PICTURE, arrays)))
            samples.append(_under(_SAMPLE, arrays))
            broken.append(_under(_BROKEN, arrays))
        self.samples = _frame(samples, SAMPLE_COLUMNS).sort("id")
        self.broken = _frame(broken, BROKEN_COLUMNS).sort("id")

    def name(self, names: Mapping[str, Mapping[int, str]]) -> None:
        """Put names in place of the codes of some columns; a code without a name becomes null."""
        for column, known in names.items():
            if column in self.samples.columns:
                codes = pl.col(column)
                named = codes.replace_strict(known, default=None, return_dtype=pl.String)
                self.samples = self.samples.with_columns(named)


def _sparse(bins: ClasswiseBins) -> Arrays:
    """Those bins that a sample fell into: few of many, of the few samples of a piece."""
    arrays = bins.to_arrays()
    place = np.flatnonzero(arrays["count"])
    shape = np.array(arrays["count"].shape)
    return {"shape": shape, "place": place} | {k: v.ravel()[place] for k, v in arrays.items()}


def _dense(arrays: Arrays) -> ClasswiseBins:
    place, shape = arrays["place"], tuple(arrays["shape"])
    full = {name: np.zeros(shape, dtype=np.int64) for name in ("count", "probability", "correct")}
    for name, bins in full.items():
        bins.ravel()[place] = arrays[name]
    return ClasswiseBins.from_arrays(full)


def _plain(text: str) -> str:
    """Text that a table can hold: file names may be bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _frame(pieces: list[Arrays], columns: dict[str, Any]) -> pl.DataFrame:
    full = [piece for piece in pieces if len(piece.get("id", ()))]
    if not full:
        return pl.DataFrame(schema=columns)
    merged = {name: np.concatenate([piece[name] for piece in full]) for name in full[0]}
    return pl.DataFrame(merged, schema_overrides=columns).select(*columns, pl.exclude(columns))
