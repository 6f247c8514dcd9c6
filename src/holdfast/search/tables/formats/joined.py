"""One CSV with a row a NAS-Bench-201 cell, joined from three published tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import Space, space_of
from holdfast.search.tables.readers import READERS, Reader, block, stacked
from holdfast.search.tables.sources import head, read_text, some
from holdfast.search.tables.table import Card, Column

CARD = Card(
    name="nb201-joined",
    title="NAS-Bench-201 on CIFAR-10: clean, adversarially trained, attacked, latencies",
    source=(
        "Dong and Yang 2020 (200 epochs); Wu et al. 2024, NAS-RobBench-201 (50 epochs, "
        "adversarial, mean of 3 seeds); Jung et al. 2023 (radius 1/255); latencies on a "
        "Raspberry Pi 5"
    ),
    verified="the joined file: 15,625 rows, 6,466 classes",
    manual="a CSV of your own with the columns arch_str and any of those that the reader knows",
)


@dataclass(frozen=True)
class _Meaning:
    """What a column of the file is.

    Attributes:
        column: What the product calls it.
        scale: Factor to the product's unit.
        each: Whether every cell was measured, and not one a class.
    """

    column: Column
    scale: float = 1.0
    each: bool = False


def _plain(condition: str) -> _Meaning:
    return _Meaning(Column("cifar10", "test", "plain", 200, condition, "accuracy"))


def _adversarial(condition: str) -> _Meaning:
    return _Meaning(Column("cifar10", "test", "adversarial", 50, condition, "accuracy"))


def _latency(runtime: str) -> _Meaning:
    condition = f"latency(device=pi5, runtime={runtime})"
    return _Meaning(Column("cifar10", "none", "none", None, condition, "milliseconds"))


# Jung et al. measured released weights of one run, so their clean accuracy is another quantity
# than the mean over runs that NAS-Bench-201 records; both stand side by side.
RELEASED = "clean(weights=released)"
_PERCENT = 0.01
MEANINGS = {
    "clean200_cifar10": _Meaning(_plain("clean").column, _PERCENT, each=True),
    "at_cifar10_val_acc": _adversarial("clean"),
    "at_cifar10_val_fgsm_3_acc": _adversarial("fgsm(norm=linf, eps=3/255)"),
    "at_cifar10_val_pgd_3_acc": _adversarial("pgd(norm=linf, eps=3/255, steps=20)"),
    "at_cifar10_val_fgsm_8_acc": _adversarial("fgsm(norm=linf, eps=8/255)"),
    "at_cifar10_val_pgd_8_acc": _adversarial("pgd(norm=linf, eps=8/255, steps=20)"),
    "at_cifar10_autoattack": _adversarial("autoattack(norm=linf, eps=8/255)"),
    "std_cifar10_clean": _plain(RELEASED),
    "std_cifar10_aa_apgd-ce": _plain("apgd_ce(norm=linf, eps=1/255, steps=100)"),
    "std_cifar10_aa_square": _plain("square(norm=linf, eps=1/255, queries=5000)"),
    "std_cifar10_fgsm": _plain("fgsm(norm=linf, eps=1/255)"),
    "std_cifar10_pgd": _plain("pgd(norm=linf, eps=1/255, steps=40)"),
    "std_cifar10_corr": _plain("mean_corruption"),
    "lat_ms_pi5_litert": _latency("litert"),
    "lat_ms_pi5_onnx": _latency("onnx"),
    "lat_ms_pi5_torchmobile": _latency("torchmobile"),
}
_NAMES = ("arch", "arch_str", "ops", "iso")  # of a cell; all but the string follow from it
_SPACE = "nb201"


def knows(path: Path) -> bool:
    """Whether the first line names a cell and a column that the reader knows."""
    first = head(path).split("\n", 1)[0].strip().split(",") if path.is_file() else []
    return "arch_str" in first and bool(set(first) & set(MEANINGS))


def read(path: Path) -> pl.DataFrame:
    """Rows of the file.

    `clean200_cifar10` was measured for each of the 15,625 cells and keeps a row a cell; the
    other columns repeat the number of a class for each of its cells and keep a row a class.

    Raises:
        BadValueError: A column that is not known, a cell that is none of the space or there
            twice, cells of a class that differ where they must not, or text for a number.
    """
    frame = _parsed(path)
    space = space_of(_SPACE)
    archs = [space.check(arch) for arch in frame["arch_str"].to_list()]
    classes = [space.canonical(arch) for arch in archs]
    frame = frame.with_columns(pl.Series("arch_str", archs), pl.Series("class", classes))
    _check_rows(frame, space, path)
    one = frame.filter(pl.col("arch_str") == pl.col("class"))
    blocks = []
    for name in (name for name in frame.columns if name in MEANINGS):
        meaning = MEANINGS[name]
        if not meaning.each:
            _check_classes(frame, name, path)
        rows = frame if meaning.each else one
        values = rows[name] * meaning.scale
        blocks.append(block(_SPACE, meaning.column, rows["arch_str"].to_list(), values))
    return stacked(blocks, path)


def _parsed(path: Path) -> pl.DataFrame:
    text = read_text(path)
    try:
        frame = pl.read_csv(text.encode(), schema_overrides=dict.fromkeys(MEANINGS, pl.Float64))
    except pl.exceptions.PolarsError as error:
        line = str(error).split("\n", 1)[0]
        raise BadValueError(f"{path} cannot be read as CSV: {line}") from error
    unknown = sorted(set(frame.columns) - {*MEANINGS, *_NAMES})
    if unknown or "arch_str" not in frame.columns:
        raise BadValueError(
            f"{path} has the unknown columns {some(unknown) or 'none'}; expected arch_str and any "
            f"of {', '.join(MEANINGS)}"
        )
    return frame


def _check_rows(frame: pl.DataFrame, space: Space, path: Path) -> None:
    twice = frame.filter(pl.col("arch_str").is_duplicated())["arch_str"].to_list()
    if twice:
        raise BadValueError(f"{path} has {twice[0]} more than once")
    absent = sorted(set(frame["class"]) - set(frame["arch_str"]))
    if absent:
        raise BadValueError(
            f"{path} lacks rows: of {len(set(frame['class'])):,} classes of cells it does not "
            f"have the first one of {len(absent):,} ({some(absent)}); is it cut off?"
        )
    if "iso" in frame.columns and "arch" in frame.columns:
        _check_ids(frame, path)


def _check_ids(frame: pl.DataFrame, path: Path) -> None:
    """The file's ids must tell the same classes as its strings do."""
    ids = dict(zip(frame["arch"], frame["arch_str"], strict=True))
    for iso, first in zip(frame["iso"], frame["class"], strict=True):
        if ids.get(iso) != first:
            raise BadValueError(
                f"{path}: iso {iso} is not the first cell of the class of {first}; "
                "ids must be those of NAS-Bench-201"
            )


def _check_classes(frame: pl.DataFrame, name: str, path: Path) -> None:
    spread = frame.group_by("class").agg(pl.col(name).n_unique())
    differing = spread.filter(pl.col(name) > 1)["class"].to_list()
    if differing:
        raise BadValueError(
            f"{path}: {name} differs between cells of the same class ({some(differing)}); it was "
            "measured once a class, so lines are wrong"
        )


READERS.register(CARD.name)(
    Reader(CARD, "CSV (or .csv.gz) with arch_str and known columns", knows, read)
)
