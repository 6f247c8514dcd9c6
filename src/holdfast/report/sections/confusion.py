"""Which classes are taken for which, clean and under attack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from holdfast.report import numbers
from holdfast.report.attacks import headline, is_attacked
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    Option,
    Table,
    label,
)
from holdfast.report.conditions import CLEAN
from holdfast.report.evidence import MOST_PANELS, Evidence, Member, Setting
from holdfast.report.figures import Grid, heat_map
from holdfast.report.sections._attack import attacked, listed_attacks
from holdfast.report.sections._base import among, per_setting, section, settings_note

MOST_CLASSES = 20  # of a map; more are told in a table
MOST_ROWS = 15  # of that table, for each model
MOST_OPTIONS = 24  # models under attacks
_NOTE = (
    "Each row of a map is a true class and sums to 100 %; its diagonal is right. Under attack an "
    "image that stands counts with its clean prediction. Classes are numbered as in the data."
)
_COLUMNS = (
    Column("confused-model", "Model"),
    Column("confused-true", "True class", numeric=True),
    Column("confused-given", "Given class", numeric=True),
    Column("confused-attack", "Under attack", "share of the true class", numeric=True),
    Column("confused-clean", "Clean", "share of the true class", numeric=True),
)


@section("confusion", title="Confusions under attack", order=46)
def build(evidence: Evidence) -> Content | None:
    """Maps for few classes, a table for many; absent without samples under attack."""
    drawn = attacked(evidence)
    blocks = per_setting(evidence, lambda setting: _blocks(setting, evidence))
    if not drawn or not blocks:
        return None
    return Content(_lead(drawn, evidence), blocks, f"{_NOTE} {settings_note(evidence)}".strip())


def _blocks(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    first = headline(setting)
    known = [] if first is None else [m for m in setting.members if _has(m, first.spec, evidence)]
    if first is None or not known:
        return ()
    classes = max(_classes(m, first.spec, evidence) for m in known)
    if classes > MOST_CLASSES:
        rows = [
            row for member in known[:MOST_PANELS] for row in _rows(member, first.spec, evidence)
        ]
        about = f"Most frequent confusions under {first.title}"
        return (Table(f"confusion-table-{setting.number}", about, _COLUMNS, rows),)
    options = [
        Option(
            f"{member.label}, {condition.title}", _panels(member, condition.spec, evidence, classes)
        )
        for condition in listed_attacks(setting)
        for member in known
        if _has(member, condition.spec, evidence)
    ]
    about = "Share of each true class that was given each class, clean and under attack"
    height = 130 + 30 * classes
    name = f"confusion-{setting.number}"
    return (Figures(name, about, options[:MOST_OPTIONS], height, min_width=26 * classes + 80),)


def _has(member: Member, spec: str, evidence: Evidence) -> bool:
    return any(
        found is not None and is_attacked(found) and len(found)
        for found in [evidence.samples(member.subject, spec)]
    )


def _classes(member: Member, spec: str, evidence: Evidence) -> int:
    """Number of classes, as far as labels and predictions tell."""
    frames = [evidence.samples(member.subject, name) for name in (CLEAN, spec)]
    tops = [f[c].max() for f in frames if f is not None for c in ("label", "prediction")]
    return 1 + max(int(top) for top in tops if isinstance(top, int))


def confusion(samples: pl.DataFrame, classes: int) -> NDArray[np.int64]:
    """Number of samples by true class and class given, int [K, K + 1].

    The last column counts those without a prediction, whose logits were not finite.
    """
    labels, given = samples["label"].to_numpy(), samples["prediction"].to_numpy()
    counts = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(counts, (labels, np.where(given < 0, classes, given)), 1)
    return counts


def _panels(member: Member, spec: str, evidence: Evidence, classes: int) -> list[Figure]:
    panels = []
    for name, condition in (("Clean", CLEAN), ("Under attack", spec)):
        samples = evidence.samples(member.subject, condition)
        counts = None if samples is None else confusion(samples, classes)
        panels.append(_map(name, counts))
    return panels


def _map(name: str, counts: NDArray[np.int64] | None) -> Figure:
    title = {"text": label(name), "font": {"size": 14}, "x": 0.02}
    if counts is None:
        note = {"text": numbers.NOT_MEASURED, "showarrow": False, "xref": "paper", "yref": "paper"}
        hidden = {"visible": False}
        return Figure([], {"title": title, "xaxis": hidden, "yaxis": hidden, "annotations": [note]})
    shown = counts if counts[:, -1].any() else counts[:, :-1]
    totals = counts.sum(1)
    names = [str(k) for k in range(len(counts))]
    grid = Grid(
        rows=names,
        columns=[*names, "none"][: shown.shape[1]],
        values=[
            [float(n) / int(total) if total else None for n in row]
            for row, total in zip(shown, totals, strict=True)
        ],
        hover=[
            [_cell_hover(true, given, int(n), int(totals[true])) for given, n in enumerate(row)]
            for true, row in enumerate(shown)
        ],
    )
    figure = heat_map(grid, across="Class given")
    layout = {**figure.layout, "title": title, "margin": {"l": 10, "r": 10, "t": 36, "b": 10}}
    layout["yaxis"] = {**layout["yaxis"], "title": {"text": "True class", "standoff": 8}}
    return Figure(figure.data, layout)


def _cell_hover(true: int, given: int, count: int, total: int) -> str:
    share = numbers.percent(count / total) if total else numbers.NO_DATA
    return f"class {true} given {given}: {share}, {_of_images(count, total)}"


def _rows(member: Member, spec: str, evidence: Evidence) -> list[list[Cell]]:
    classes = _classes(member, spec, evidence)
    samples = evidence.samples(member.subject, spec)
    clean = evidence.samples(member.subject, CLEAN)
    if samples is None:
        return []
    counts = confusion(samples, classes)
    before = None if clean is None else confusion(clean, classes)
    return [
        [
            Cell(member.label, "", member.label),
            Cell(str(true), "", true),
            Cell(str(given), "", given),
            _share(counts, true, given),
            Cell(numbers.NOT_MEASURED) if before is None else _share(before, true, given),
        ]
        for true, given in _most_confused(counts, MOST_ROWS)
    ]


def _share(counts: NDArray[np.int64], true: int, given: int) -> Cell:
    count, total = int(counts[true, given]), int(counts[true].sum())
    if not total:
        return Cell(numbers.NO_DATA)
    return Cell(numbers.percent(count / total), _of_images(count, total), count / total)


def _of_images(count: int, total: int) -> str:
    return f"{numbers.count(count)} of {numbers.count(total)} image{'' if total == 1 else 's'}"


def _most_confused(counts: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Pairs of true and given class by number of images, most first; equal ones by class."""
    wrong = counts[:, :-1].copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), wrong.shape[1]) for place in order]
    return [(true, given) for true, given in pairs if wrong[true, given]]


def _lead(drawn: Sequence[Setting], evidence: Evidence) -> str:
    for setting in drawn:
        first = headline(setting)
        for member in setting.members if first else ():
            samples = evidence.samples(member.subject, first.spec) if first else None
            if first is None or samples is None or not len(samples):
                continue
            if not is_attacked(samples):
                continue
            counts = confusion(right_when_clean(samples), _classes(member, first.spec, evidence))
            for true, given in _most_confused(counts, 1):
                taken, total = int(counts[true, given]), int(counts[true].sum())
                return (
                    f"Under {first.title}{among(setting, evidence)}, {member.label} most often "
                    f"takes class {true} for {given}: {_of_images(taken, total)} "
                    "of that class that were right when clean."
                )
    return "No image that was right when clean was taken for another class under attack."


def right_when_clean(samples: pl.DataFrame) -> pl.DataFrame:
    """Rows of an attack's samples without those that were wrong from the start."""
    return samples.filter(pl.col("broken_by").cast(pl.String).ne_missing("clean"))
