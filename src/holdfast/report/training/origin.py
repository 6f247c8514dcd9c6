"""The recipe, and where and how the weights came about."""

from __future__ import annotations

import json
from typing import Any

from holdfast.core.nested import dotted
from holdfast.records.trainings import RECIPE_FILE, Training
from holdfast.report import numbers
from holdfast.report.blocks import Cell, Column, Content, Definitions, Table
from holdfast.report.training.outcome import Outcome


def recipe(outcome: Outcome) -> Content | None:
    """Every field of the recipe, those that differ from their defaults marked."""
    rows = dotted(outcome.training.recipe)
    if not rows:
        return None
    changed = {name for name in outcome.training.changed if name in rows}
    columns = [
        Column("field", "Field"),
        Column("value", "Value"),
        *([Column("chosen", "Chosen", "Not the default")] if changed else []),
    ]
    body = [
        [
            Cell(name, order=name),
            Cell(value_text(value), order=value_text(value)),
            *([_chosen(name in changed)] if changed else []),
        ]
        for name, value in rows.items()
    ]
    lead = f"All of it is in {RECIPE_FILE}, beside this page."
    if changed:
        fields = numbers.counted(len(changed), "field")
        verb = "differs" if len(changed) == 1 else "differ"
        lead = f"{numbers.sentence(fields)} of {len(rows)} {verb} from the default. {lead}"
    return Content(lead, [Table("recipe-table", "Fields of the recipe", columns, body)])


def provenance(outcome: Outcome) -> Content:
    """Versions, machine, digests, command and time."""
    training = outcome.training
    per_step = training.seconds / training.steps if training.steps else 0.0
    entries = [
        ("Command", training.command),
        ("Status", f"{training.status}{f': {training.reason}' if training.reason else ''}"),
        ("Network", training.model),
        ("Weights", training.weights_digest),
        ("Data", training.data),
        ("Images", _images(training)),
        ("Fingerprint of the data", training.data_fingerprint),
        ("Digest of the recipe", training.digest),
        ("Started", training.started),
        ("Length", f"{numbers.count(training.steps)} steps, {training.epochs:.4g} epochs"),
        ("Time of training", _time(training.seconds, per_step)),
        ("Resumed", _times(training.resumed)),
        ("Machine", ", ".join(f"{name} {value}" for name, value in training.machine.items())),
        ("Versions", ", ".join(f"{name} {value}" for name, value in training.versions.items())),
    ]
    known = [(term, text) for term, text in entries if text]
    return Content("How to get these weights again.", [Definitions(known)])


def _images(training: Training) -> str:
    return (
        f"{numbers.count(training.images)} for training and "
        f"{numbers.count(training.validation_images)} for validation, "
        f"{numbers.counted(training.classes, 'class', 'classes')}"
    )


def value_text(value: Any) -> str:
    """A value as a recipe has it, lists without quotation marks."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return json.dumps(value)


def _chosen(yes: bool) -> Cell:  # noqa: FBT001 - one fact
    return Cell("chosen" if yes else "", order="a" if yes else "b")


def _time(total: float, per_step: float) -> str:
    if not total:
        return ""
    text = numbers.seconds(total)
    return f"{text} ({1000 * per_step:,.3g} ms a step)" if per_step else text


def _times(count: int) -> str:
    return "" if count == 0 else numbers.counted(count, "time")
