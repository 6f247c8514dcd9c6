"""The page of a folder of explanations: why models hold, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import MissingError
from holdfast.records.explanations import (
    ANATOMY_FILE,
    FILES,
    Advice,
    Causal,
    FineTuning,
    Ranks,
    Rules,
    Theory,
    read_anatomy,
    read_explanation,
)
from holdfast.report import numbers
from holdfast.report.blocks import Content, Definitions
from holdfast.report.explain import (
    advice,
    anatomy,
    causal,
    fine_tuning,
    ranks,
    rules,
    theory,
)
from holdfast.report.search.shell import Head, write_page

Section = tuple[str, str, Content]  # name, title, content
_KINDS: tuple[tuple[Any, str, Callable[[Any], Sequence[Section]]], ...] = (
    (Advice, "advice", advice.sections),
    (Theory, "theory", theory.sections),
    (Rules, "design rules", rules.sections),
    (Ranks, "ranks", ranks.sections),
    (Causal, "a causal check", causal.sections),
    (FineTuning, "robust fine-tuning", fine_tuning.sections),
)


def write_explanation_page(folder: str | Path) -> Path:
    """Write `folder/page.html` of all explanations in the folder.

    The page needs no network. It is replaced whole.

    Returns:
        Its path.

    Raises:
        MissingError: No explanation in the folder.
        BadValueError: Files that say something else.
        StoreError: The folder cannot be written.
    """
    folder = Path(folder)
    sections: list[Section] = []
    told: list[str] = []
    flags: list[str] = []
    setup: list[tuple[str, str]] = []
    for kind, title, build in _KINDS:
        if not (folder / FILES[kind]).is_file():
            continue
        found = read_explanation(folder, kind)
        sections += build(found)
        told.append(title)
        flags += [f"{numbers.sentence(title)}: {flag}" for flag in found.flags]
        setup += [(numbers.sentence(title), one) for one in (found.source, found.command) if one]
    if (folder / ANATOMY_FILE).is_file():
        sections += anatomy.sections(read_anatomy(folder))
        told.append("anatomy")
    if not told:
        raise MissingError(
            f"no explanation in {folder}: `holdfast explain ... --out {folder}` writes one"
        )
    if setup:
        sections.append(("setup", "Setup", Content("Where it came from.", [Definitions(setup)])))
    head = Head(
        title="What makes models hold?",
        subtitle=f"{numbers.sentence(numbers.listing(told))}.",
        flags=list(dict.fromkeys(flags)),
        beside="All numbers: the JSON and Parquet files beside this page.",
    )
    return write_page(folder, head, sections)
