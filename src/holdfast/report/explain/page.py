"""The page of a folder of explanations: why models hold, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import MissingError
from holdfast.core.version import VERSION
from holdfast.records.explanations import (
    ANATOMY_FILE,
    FILES,
    Advice,
    Causal,
    Explanation,
    FineTuning,
    Ranks,
    Rules,
    Theory,
    read_anatomy,
    read_explanation,
)
from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Definitions, Heading
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
_NAME = 40  # characters of a model's name in the subtitle


@dataclass(frozen=True)
class _Kind:
    """An explanation on the page: what it is called, of what it is, and its sections."""

    record: Any
    name: str
    about: Callable[[Any], str]
    sections: Callable[[Any], Sequence[Section]]


# What to do first; then what speaks for it, from the rules to the tables behind them.
_KINDS: tuple[_Kind, ...] = (
    _Kind(Advice, "advice", lambda found: f"on {_short(found.model)}", advice.sections),
    _Kind(Rules, "design rules", lambda found: f"under {found.perturbation}", rules.sections),
    _Kind(Causal, "a causal check", lambda _: "of stems and poolings", causal.sections),
    _Kind(Theory, "theory", lambda found: f"of {_short(found.model)}", theory.sections),
    _Kind(Ranks, "ranks", lambda found: f"under {found.perturbation}", ranks.sections),
    _Kind(FineTuning, "robust fine-tuning", lambda _: "", fine_tuning.sections),
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
    found = [
        (kind, read_explanation(folder, kind.record))
        for kind in _KINDS
        if (folder / FILES[kind.record]).is_file()
    ]
    sections = [section for kind, one in found for section in kind.sections(one)]
    told = [f"{kind.name} {kind.about(one)}".strip() for kind, one in found]
    if (folder / ANATOMY_FILE).is_file():
        rows = read_anatomy(folder)
        sections += anatomy.sections(rows)
        told.append(f"anatomy of {numbers.counted(len(rows), 'model')}")
    if not told:
        raise MissingError(
            f"no explanation in {folder}: `holdfast explain ... --out {folder}` writes one"
        )
    setup = _setup([(kind.name, one) for kind, one in found])
    if setup:
        sections.append(("setup", "Setup", Content("Where this page came from.", setup)))
    head = Head(
        title="What makes models hold?",
        subtitle=f"{numbers.sentence(numbers.listing(told))}.",
        flags=_flags([(kind.name, one) for kind, one in found]),
        beside="All numbers: the JSON and Parquet files beside this page.",
    )
    return write_page(folder, head, sections)


def _short(name: str) -> str:
    return numbers.shortened(name, _NAME)


def _flags(found: Sequence[tuple[str, Explanation]]) -> list[str]:
    """Each doubt once, after the names of all that it is cast on."""
    names: dict[str, list[str]] = {}
    for name, one in found:
        for flag in dict.fromkeys(one.flags):
            names.setdefault(flag, []).append(name)
    told = [f"{numbers.sentence(numbers.listing(who))}: {flag}" for flag, who in names.items()]
    for name, one in found:
        if one.version and one.version != VERSION:
            told.append(
                f"{numbers.sentence(name)}: computed by holdfast {one.version}, and this page is "
                f"of {VERSION}."
            )
    return told


def _setup(found: Sequence[tuple[str, Explanation]]) -> list[Block]:
    """Sources, and what to type; explanations that share one share a line."""
    blocks: list[Block] = []
    sources = _shared([(name, one.source) for name, one in found])
    commands = _shared([(name, one.command) for name, one in found])
    if sources:
        blocks.append(Definitions(sources))
    if commands:
        blocks += [Heading("What to type to get this again"), Definitions(commands)]
    return blocks


def _shared(told: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    names: dict[str, list[str]] = {}
    for name, text in told:
        if text:
            names.setdefault(text, []).append(name)
    return [(numbers.sentence(numbers.listing(who)), text) for text, who in names.items()]
