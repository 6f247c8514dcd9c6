"""The page of a training: what it made of the network, how, and how to get that again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.records.trainings import CURVES_FILE, RECIPE_FILE
from holdfast.report import numbers
from holdfast.report.blocks import Content
from holdfast.report.search.shell import Head, write_page
from holdfast.report.training import curves, measured, origin, results
from holdfast.report.training.outcome import Outcome

PROTOCOLS = {
    "full": "full fine-tuning",
    "scratch": "training from scratch",
    "linear_probe": "a linear probe",
    "lp_ft": "a linear probe, then full fine-tuning",
    "last_k": "fine-tuning of the last blocks",
}
Build = Callable[[Outcome], Content | None]


def write_training_page(folder: str | Path) -> Path:
    """Write `folder/page.html` from what `holdfast train run` left in the folder.

    The page needs no network. It is replaced whole.

    Returns:
        Its path.

    Raises:
        MissingError: No training in the folder, or `store` is no store.
        BadValueError: Files that say something else.
        StoreError: The folder cannot be read or written.
    """
    folder = Path(folder)
    outcome = Outcome.read(folder)
    built = [(name, title, build(outcome)) for name, title, build in _SECTIONS]
    head = Head(
        title=f"{outcome.training.model} trained on {outcome.training.data}",
        subtitle=_subtitle(outcome),
        alert=" ".join(outcome.alarms()),
        flags=list(outcome.remarks()),
        beside=f"Curves: {CURVES_FILE}; recipe: {RECIPE_FILE}; both beside this page.",
        version=outcome.training.version,
    )
    return write_page(folder, head, [(n, t, content) for n, t, content in built if content])


def protocol_text(outcome: Outcome) -> str:
    """Which weights learned, in words."""
    kind = outcome.field("protocol", "kind")
    return PROTOCOLS.get(str(kind), str(kind or ""))


def _subtitle(outcome: Outcome) -> str:
    training = outcome.training
    classes = numbers.counted(training.classes, "class", "classes")
    text = f"{numbers.count(training.images)} images of {classes}"
    ways = [protocol_text(outcome), str(outcome.field("train", "objective") or "")]
    how = " with ".join(way for way in ways if way)
    planned = outcome.field("train", "epochs")
    of = f" of {planned}" if planned and training.epochs < planned else ""
    length = f"{training.epochs:.4g}{of} epochs in {numbers.seconds(training.seconds)}"
    return f"{numbers.sentence(f'{how}: ' if how else '')}{text}; {length}."


_SECTIONS: tuple[tuple[str, str, Build], ...] = (
    ("result", "Result", results.build),
    ("curves", "Curves", curves.build),
    ("measured", "Measured robustness", measured.build),
    ("recipe", "Recipe", origin.recipe),
    ("provenance", "Provenance", origin.provenance),
)
