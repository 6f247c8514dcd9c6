"""`holdfast list`: what there is to name."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from holdfast.cli.console import guarded, out

Rows = list[tuple[str, ...]]


class What(StrEnum):
    """What can be listed."""

    MODELS = "models"
    DATA = "data"
    CORRUPTIONS = "corruptions"
    ATTACKS = "attacks"
    METRICS = "metrics"
    SPACES = "spaces"
    TABLES = "tables"
    SEARCHERS = "searchers"
    PROXIES = "proxies"
    PRESETS = "presets"
    OBJECTIVES = "objectives"
    AUGMENTATIONS = "augmentations"
    STEPS = "steps"
    CHANGES = "changes"


@guarded
def listing(
    what: Annotated[
        What,
        typer.Argument(
            help="models, data, corruptions, attacks, metrics; for a search: spaces, tables, "
            "searchers, proxies; for a training: presets, objectives, augmentations, steps; "
            "changes of a model."
        ),
    ],
    pattern: Annotated[
        str, typer.Argument(help="Only names that contain this, such as resnet50.")
    ] = "",
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List models, data sets, corruptions, attacks, metrics; parts of searches and trainings."""
    columns, rows = {
        What.MODELS: _models,
        What.DATA: _data,
        What.CORRUPTIONS: _corruptions,
        What.ATTACKS: _attacks,
        What.METRICS: _metrics,
        What.SPACES: _spaces,
        What.TABLES: _tables,
        What.SEARCHERS: _searchers,
        What.PROXIES: _proxies,
        What.PRESETS: _presets,
        What.OBJECTIVES: _objectives,
        What.AUGMENTATIONS: _augmentations,
        What.STEPS: _steps,
        What.CHANGES: _changes,
    }[what]()
    kept = [row for row in rows if pattern.lower() in row[0].lower()]
    if json_lines:
        for row in kept:
            typer.echo(json.dumps(dict(zip(columns, row, strict=True))))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in kept:
        table.add_row(*map(escape, row))
    out.print(table)
    if not kept:
        out.print(f"no {what} with {pattern!r} in the name", markup=False)


def _models() -> tuple[tuple[str, ...], Rows]:
    from holdfast.models import known_models

    return ("model", "note"), [(spec, note) for spec, note in known_models()]


def _data() -> tuple[tuple[str, ...], Rows]:
    from holdfast.data import known_data

    return ("data", "note"), [(spec, note) for spec, note in known_data()]


def _corruptions() -> tuple[tuple[str, ...], Rows]:
    from holdfast.perturb.conditions import known_conditions

    rows: Rows = [row for row in known_conditions() if row[1] != "attack"]
    return ("corruption", "group", "parameters", "what it does"), rows


def _attacks() -> tuple[tuple[str, ...], Rows]:
    from holdfast.perturb.conditions import known_conditions

    rows: Rows = [
        (name, parameters, about)
        for name, group, parameters, about in known_conditions()
        if group == "attack"
    ]
    return ("attack", "parameters", "what it does"), rows


def _metrics() -> tuple[tuple[str, ...], Rows]:
    from holdfast.metrics import METRICS

    cards = [METRICS[name] for name in METRICS]
    rows: Rows = [(card.name, card.unit, card.better, card.definition) for card in cards]
    return ("metric", "unit", "better", "definition"), rows


def _spaces() -> tuple[tuple[str, ...], Rows]:
    from holdfast.search.spaces import SPACES, space_of

    spaces = [(name, space_of(name)) for name in SPACES]
    rows: Rows = [
        (name, f"{space.size:,}" if space.size else "not known", space.about)
        for name, space in spaces
    ]
    return ("space", "architectures", "what it holds"), rows


def _tables() -> tuple[tuple[str, ...], Rows]:
    from holdfast.search.tables.loading import known_tables

    return ("table", "what it holds", "source", "reader", "how to get it"), [*known_tables()]


def _searchers() -> tuple[tuple[str, ...], Rows]:
    from holdfast.search.searchers import SEARCHERS, searcher
    from holdfast.search.searchers.base import spec_of

    rows: Rows = [(name, spec_of(searcher(name)), SEARCHERS[name].about) for name in SEARCHERS]
    return ("searcher", "with its settings", "what it does"), rows


def _proxies() -> tuple[tuple[str, ...], Rows]:
    from holdfast.search.proxies import known_proxies

    columns = ("proxy", "better", "batch", "moment", "needs", "what it measures")
    return columns, [*known_proxies()]


def _presets() -> tuple[tuple[str, ...], Rows]:
    from holdfast.training import PRESETS

    presets = [PRESETS[name] for name in PRESETS]
    return ("preset", "what", "from"), [(one.name, one.about, one.source) for one in presets]


def _objectives() -> tuple[tuple[str, ...], Rows]:
    from holdfast.training.objectives import OBJECTIVES
    from holdfast.training.pretrain import SelfSupervised

    rows: Rows = [
        (
            OBJECTIVES[name]().spec,
            "self-supervised" if issubclass(OBJECTIVES[name], SelfSupervised) else "supervised",
            first_line(OBJECTIVES[name]),
        )
        for name in OBJECTIVES
    ]
    return ("objective, with its settings", "kind", "what it minimizes"), rows


def _augmentations() -> tuple[tuple[str, ...], Rows]:
    from holdfast.training.augment import AUGMENTATIONS, BatchAugmentation, SourceAugmentation

    def works_on(part: type) -> str:
        if issubclass(part, SourceAugmentation):
            return "stored picture"
        return "batch" if issubclass(part, BatchAugmentation) else "picture"

    parts = [(name, AUGMENTATIONS[name]) for name in AUGMENTATIONS]
    rows: Rows = [
        (name, ", ".join(parameters(part)), works_on(part), first_line(part))
        for name, part in parts
    ]
    return ("augmentation", "settings", "works on", "what it does"), rows


def _steps() -> tuple[tuple[str, ...], Rows]:
    from holdfast.training.steps import STEPS

    rows: Rows = [(STEPS[name]().spec, first_line(STEPS[name])) for name in STEPS]
    return ("step, with its settings", "what it does"), rows


def _changes() -> tuple[tuple[str, ...], Rows]:
    from holdfast.models.surgery import CHANGES

    rows: Rows = [(CHANGES[name]().spec, CHANGES[name].about) for name in CHANGES]
    return ("change, with its settings", "what it does"), rows


def first_line(part: type) -> str:
    """What a part's docstring says first."""
    return str(part.__doc__).strip().partition("\n")[0]


def parameters(part: type) -> list[str]:
    """Names of a frozen dataclass' fields."""
    return [one.name for one in dataclasses.fields(part)]
