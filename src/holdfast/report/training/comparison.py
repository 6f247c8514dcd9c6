"""Several trainings on one page, such as linear probe, fine-tuning, and one after the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.core.errors import BadValueError, StoreError
from holdfast.metrics.intervals import Estimate
from holdfast.records.trainings import AFTER
from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    Heading,
    Option,
    Table,
    number_cell,
)
from holdfast.report.conditions import Condition
from holdfast.report.figures import Line, style
from holdfast.report.search.shell import Head, write_page
from holdfast.report.subjects import Subject
from holdfast.report.training.curves import HEIGHT, accuracy_figure, plain_figure
from holdfast.report.training.measured import (
    ACCURACY,
    CALIBRATION,
    condition_cell,
    conditions_of,
    difference_of,
    images_title,
    points_text,
    share_cell,
)
from holdfast.report.training.outcome import Images, Outcome
from holdfast.report.training.page import protocol_text
from holdfast.report.training.results import clean_of, epoch_text, has_robust, robust_of, written

_NOTE = (
    "Brackets are 95 % Wilson intervals. Best epochs were chosen by these very images, so all "
    "rows flatter alike; none tells what another seed would do."
)
_PAIRED = (
    "Brackets are 95 % intervals. Below each accuracy stands the difference from the first "
    "training, taken image by image over the images that both saw (Newcombe 1998, method 10); "
    "it can be clear where the two intervals overlap."
)


def write_comparison_page(folders: Iterable[str | Path], target: str | Path) -> Path:
    """Write `target/page.html` about several trainings; the first is what others differ from.

    Args:
        folders: Each one that `holdfast train run` wrote.
        target: Folder of the page; made when it is not there.

    Returns:
        Path of the page, which is replaced whole and needs no network.

    Raises:
        MissingError: No training in one of the folders.
        BadValueError: Fewer than two folders, or files that say something else.
        StoreError: A folder cannot be read or written.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise BadValueError(f"a comparison needs two trainings or more, got {len(paths)}")
    outcomes = [Outcome.read(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    target = Path(target)
    built = [
        ("results", "Results", _results(outcomes)),
        ("curves", "Curves", _curves(outcomes)),
        ("measured", "Measured robustness", _measured(outcomes)),
    ]
    head = Head(
        title="Which training made the better network?",
        subtitle=_subtitle(outcomes),
        alert=" ".join(f"{one.name}: {text}" for one in outcomes for text in one.alarms()),
        flags=[
            *_unlike(outcomes),
            *(f"{o.name}: {text}" for o in outcomes for text in o.remarks()),
        ],
        beside="Each training has a page of its own, in its folder.",
    )
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot write to {target}: {error.strerror or error}; name another folder"
        ) from error
    return write_page(target, head, [(n, t, content) for n, t, content in built if content])


def _names(paths: Sequence[Path]) -> list[str]:
    """Names of the folders, with those above them where several are called the same."""
    whole = [path.resolve() for path in paths]
    for depth in range(1, max(len(path.parts) for path in whole)):
        names = ["/".join(path.parts[-depth:]) for path in whole]
        if len(set(names)) == len(names):
            return names
    counts = Counter(whole)
    twice = [str(path) for path in whole if counts[path] > 1]
    raise BadValueError(f"the same training was named twice: {twice[0]}")


def _subtitle(outcomes: Sequence[Outcome]) -> str:
    models = sorted({one.training.model for one in outcomes})
    data = sorted({one.training.data for one in outcomes})
    trainings = numbers.sentence(numbers.counted(len(outcomes), "training"))
    return f"{trainings} of {numbers.listing(models)} on {numbers.listing(data)}."


def _unlike(outcomes: Sequence[Outcome]) -> list[str]:
    """Why their validation scores should not be set against each other."""
    told = []
    if len({(one.training.data, one.training.data_fingerprint) for one in outcomes}) > 1:
        told.append("They did not all learn from the same images.")
    if len({one.training.score for one in outcomes}) > 1:
        told.append("Their best epochs were chosen by different scores; robust columns differ too.")
    return told


def _results(outcomes: Sequence[Outcome]) -> Content:
    robust = any(map(has_robust, outcomes))
    where = "At the best epoch, on validation images"
    columns = [
        Column("training", "Training"),
        Column("protocol", "Protocol"),
        Column("objective", "Objective"),
        Column("epoch", "Best epoch", numeric=True),
        Column("clean", "Clean accuracy", where, numeric=True),
        *([Column("robust", "Robust accuracy", where, numeric=True)] if robust else []),
        Column("seconds", "Time", "Of training", numeric=True),
        Column("status", "Status"),
    ]
    rows = [_result_row(one, robust=robust) for one in outcomes]
    table = Table("comparison-table", "Trainings side by side", columns, rows)
    return Content(_lead(outcomes), [table], _NOTE)


def _result_row(outcome: Outcome, *, robust: bool) -> list[Cell]:
    training = outcome.training
    clean, attacked = _ends(outcome)
    best = outcome.moments.get("best")
    return [
        Cell(outcome.name, order=outcome.name),
        Cell(protocol_text(outcome)),
        Cell(str(outcome.field("train", "objective") or "")),
        Cell(numbers.NOT_MEASURED)
        if best is None
        else number_cell(best.epoch, epoch_text(best.epoch)),
        share_cell(clean),
        *([share_cell(attacked)] if robust else []),
        number_cell(training.seconds, numbers.seconds(training.seconds)),
        Cell(training.status, order=training.status),
    ]


def _ends(outcome: Outcome) -> tuple[Estimate | None, Estimate | None]:
    """Clean and robust accuracy at the best epoch, or at the last where none was chosen."""
    end = outcome.moments.get("best") or outcome.moments.get("last")
    if end is None:
        return None, None
    found = clean_of(end), robust_of(end)
    clean, robust = (None if math.isnan(one.value) else one for one in found)
    return clean, robust


def _lead(outcomes: Sequence[Outcome]) -> str:
    robust = [(one.name, found) for one in outcomes if (found := _ends(one)[1]) is not None]
    clean = [(one.name, found) for one in outcomes if (found := _ends(one)[0]) is not None]
    parts = [
        f"{name} holds the highest {what} validation accuracy, {written(found)}"
        for what, known in (("robust", robust), ("clean", clean))
        if known
        for name, found in [max(known, key=lambda pair: pair[1].value)]
    ]
    return f"{'; '.join(parts)}." if parts else "Nothing was measured on validation images."


def _curves(outcomes: Sequence[Outcome]) -> Content | None:
    panels = [
        figure
        for column, title in (
            ("validation_accuracy", "Clean validation accuracy"),
            ("validation_robust", "Robust validation accuracy"),
        )
        if (figure := _overlaid(outcomes, column, title)) is not None
    ]
    losses = {one.name: one.values("loss") for one in outcomes}
    if any(losses.values()):
        panels.append(plain_figure("Training loss", losses))
    if not panels:
        return None
    block = Figures(
        "comparison-figure",
        "Clean and robust validation accuracy and training loss over the epochs, a line a "
        "training.",
        [Option("All", panels)],
        height=HEIGHT,
    )
    note = "Bands are 95 % Wilson intervals. Losses of unlike objectives are unlike numbers."
    return Content("The same color is the same training in all figures.", [block], note)


def _overlaid(outcomes: Sequence[Outcome], column: str, title: str) -> Figure | None:
    shown = [
        Line(one.name, style(place), points)
        for place, one in enumerate(outcomes)
        if (points := one.shares(column))
    ]
    return accuracy_figure(shown, title) if shown else None


def _measured(outcomes: Sequence[Outcome]) -> Content | None:
    found = [one.subjects(AFTER) for one in outcomes]
    places: list[Images] = list(dict.fromkeys(place for one in found for place in one))
    blocks: list[Block] = []
    for number, place in enumerate(places):
        group = [one.get(place) for one in found]
        blocks += [Heading(images_title(place)), _accuracies(number, outcomes, group)]
        errors = conditions_of(group, CALIBRATION)
        if errors:
            title = f"Root mean square calibration error: {images_title(place)}"
            blocks += [Heading(title), _calibration(number, outcomes, group, errors)]
    if not blocks:
        return None
    lead = f"Networks as they were kept; differences are from {outcomes[0].name}."
    return Content(lead, blocks, _PAIRED)


def _accuracies(number: int, outcomes: Sequence[Outcome], group: Sequence[Subject | None]) -> Table:
    first = (outcomes[0], group[0])
    rows = []
    for condition in conditions_of(group, ACCURACY):
        cells = [condition_cell(condition)]
        for place, pair in enumerate(zip(outcomes, group, strict=True)):
            cell = _share(pair[1], condition, ACCURACY)
            if place:
                cell = _beside(cell, difference_of(first, pair, condition.spec))
            cells.append(cell)
        rows.append(cells)
    name = f"measured-table-{number}"
    return Table(name, "Accuracy of each network", _columns(outcomes), rows)


def _calibration(
    number: int,
    outcomes: Sequence[Outcome],
    group: Sequence[Subject | None],
    conditions: Sequence[Condition],
) -> Table:
    rows = [
        [condition_cell(one), *(_share(subject, one, CALIBRATION) for subject in group)]
        for one in conditions
    ]
    name = f"calibration-table-{number}"
    return Table(name, "Calibration error of each network", _columns(outcomes), rows)


def _columns(outcomes: Sequence[Outcome]) -> list[Column]:
    named = [
        Column(f"training-{place}", one.name, numeric=True) for place, one in enumerate(outcomes)
    ]
    return [Column("condition", "Condition"), *named]


def _share(subject: Subject | None, condition: Condition, metric: str) -> Cell:
    return share_cell(None if subject is None else subject.estimate(condition.spec, metric))


def _beside(cell: Cell, difference: Estimate) -> Cell:
    if math.isnan(difference.value):
        return cell
    return Cell(cell.text, f"{cell.detail}\n{points_text(difference)}".strip(), cell.order)
