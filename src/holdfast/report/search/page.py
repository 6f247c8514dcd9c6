"""The page of a search: who found how much after how many queries, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.records.searches import TRIALS_FILE, Search, read_search
from holdfast.report import numbers
from holdfast.report.blocks import Content, Definitions
from holdfast.report.search import fronts, trajectories, winners
from holdfast.report.search.correlation_section import correlation_content
from holdfast.report.search.runs import Findings
from holdfast.report.search.shell import Head, where_from, write_page

_ALERT = (
    "These searchers chose by scores on the test split. What they found looks better than it is "
    "on images that no one has seen; compare it with searches that chose in the same way only."
)
Build = Callable[[Findings], Content | None]


def write_search_page(folder: str | Path) -> Path:
    """Write `folder/page.html` from what `write_search` left in the folder.

    The page needs no network. It is replaced whole.

    Returns:
        Its path.

    Raises:
        MissingError: No search in the folder.
        BadValueError: Files that say something else, or no trial.
        StoreError: The folder cannot be written.
    """
    folder = Path(folder)
    search, trials = read_search(folder)
    findings = Findings.of(search, trials)
    built = [(name, title, build(findings)) for name, title, build in _SECTIONS]
    sections = [(name, title, content) for name, title, content in built if content is not None]
    head = Head(
        title="What did the search find?",
        subtitle=_subtitle(findings),
        alert=_ALERT if search.select_on == "test" else "",
        flags=search.flags,
        beside=f"All queries: {TRIALS_FILE}, beside this page.",
        version=search.version,
    )
    return write_page(folder, head, sections)


def _subtitle(findings: Findings) -> str:
    search = findings.search
    wanted = numbers.listing([_wanted(search, place) for place in range(len(search.objectives))])
    kept = numbers.listing([one.text for one in search.constraints])
    searchers = numbers.counted(len(findings.runs), "searcher")
    return (
        f"{numbers.sentence(searchers)} in {search.table.name}, to {wanted}"
        f"{f' where {kept}' if kept else ''}; {numbers.counted(search.budget, 'query', 'queries')} "
        f"each, {numbers.counted(search.repetitions, 'repetition')}."
    )


def _wanted(search: Search, place: int) -> str:
    one = search.objectives[place]
    text = one.text.removeprefix("max:").removeprefix("min:").strip()
    return f"{one.direction} {text}"


def _setup(findings: Findings) -> Content:
    search = findings.search
    entries = [
        *where_from(search.table),
        *[
            ("Objective", f"{_wanted(search, place)}{f' ({one.column})' if one.column else ''}")
            for place, one in enumerate(search.objectives)
        ],
        *[("Constraint", one.text) for one in search.constraints],
        ("Chosen by", f"the {search.select_on} split"),
        ("Budget", f"{numbers.counted(search.budget, 'query', 'queries')} a repetition"),
        ("Repetitions", f"{numbers.count(search.repetitions)}, seed {search.seed}"),
        *[(one.spec, _about(one.settings, one.about, one.seconds)) for one in search.searchers],
        *([("Command", search.command)] if search.command else []),
    ]
    return Content("What was asked of whom, and how to get it again.", [Definitions(entries)])


def _about(settings: str, text: str, seconds: float) -> str:
    took = "" if seconds != seconds else f"{numbers.seconds(seconds)} for all repetitions"  # noqa: PLR0124 - NaN
    return "; ".join(part for part in (text, settings, took) if part) or "no more is known"


def _agreement(findings: Findings) -> Content | None:
    found = findings.search.correlations
    return None if found is None else correlation_content([found], "correlation")


_SECTIONS: tuple[tuple[str, str, Build], ...] = (
    ("trajectories", "Trajectories", trajectories.build),
    ("results", "Results", trajectories.results),
    ("front", "Pareto front", fronts.build),
    ("winners", "Winners", winners.build),
    ("constraints", "Constraints", fronts.constraints),
    ("correlation", "Agreement of conditions", _agreement),
    ("setup", "Setup", _setup),
)
