"""What a section is, the registry that holds them, and what several of them say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.registry import Registry
from holdfast.metrics.intervals import Estimate
from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Figure, Heading, label
from holdfast.report.evidence import MOST_SETTINGS, Evidence, Member, Setting
from holdfast.report.figures import MOST_LINES, Axis, Grid, Line, grid_height, heat_map, lines

Build = Callable[[Evidence], Content | None]
LINE_HEIGHT = 440  # pixels of a figure of curves

WILSON = "Intervals are 95 % Wilson score intervals over images."
AVERAGED = (
    "An average over conditions has the average of their 95 % bounds, which is on the safe side: "
    "the same images occur in each."
)


@dataclass(frozen=True)
class Section:
    """A part of the page; `order` says where it stands, `build` gives None to stay away."""

    name: str
    title: str
    order: int
    build: Build


SECTIONS: Registry[Section] = Registry("section")


def section(name: str, *, title: str, order: int) -> Callable[[Build], Build]:
    """Register the decorated function as the section `name`."""

    def keep(build: Build) -> Build:
        SECTIONS.register(name)(Section(name, title, order, build))
        return build

    return keep


def ordered_sections() -> list[Section]:
    """All sections as they stand in the page."""
    return sorted((SECTIONS[name] for name in SECTIONS), key=lambda s: (s.order, s.name))


def per_setting(
    evidence: Evidence, build: Callable[[Setting], Sequence[Block]]
) -> tuple[Block, ...]:
    """Blocks of each set of images, headed by its name where there are several."""
    built = [(setting, build(setting)) for setting in evidence.shown]
    drawn = [(setting, blocks) for setting, blocks in built if blocks]
    several = len(evidence.settings) > 1
    parts = ([Heading(setting.title)] * several + list(blocks) for setting, blocks in drawn)
    return tuple(itertools.chain.from_iterable(parts))


def settings_note(evidence: Evidence) -> str:
    """Say what was left out where there are many sets of images."""
    left = len(evidence.settings) - MOST_SETTINGS
    if left <= 0:
        return ""
    return f"Figures show {MOST_SETTINGS} sets of images; {left} more are in the tables."


@dataclass(frozen=True)
class Claim:
    """How a sentence about the first of a ranking is worded: among several, and for one alone."""

    best: str
    alone: str


KEEPS = Claim("keeps most accuracy", "keeps an accuracy of")


def best_sentence(
    ranking: Sequence[tuple[Member, Estimate]], claim: Claim, where: str, *, of: int
) -> str:
    """Say who is first of a ranking, and whose intervals overlap with that one's.

    Args:
        ranking: Members and what they scored, best first.
        claim: The verb.
        where: The condition, as the end of the sentence.
        of: How many models there are; fewer in the ranking means that some were not measured.
    """
    member, found = ranking[0]
    reads = numbers.percent_interval(found.value, found.low, found.high)
    if len(ranking) == 1:
        return f"{member.label} {claim.alone} {reads} {where}."
    models = numbers.counted(len(ranking), "model")
    group = models if len(ranking) == of else f"the {models} measured in full"
    text = f"Of {group}, {member.label} {claim.best}: {reads} {where}"
    near = [other.label for other, score in ranking[1:] if score.high >= found.low]
    if near:
        whose = near[0] if len(near) == 1 else f"{numbers.counted(len(near), 'model')} more"
        intervals = "interval" if len(near) == 1 else "intervals"
        verb = "overlaps" if len(near) == 1 else "overlap"
        text += f"; the {intervals} of {whose} {verb}, so this page leaves their order open"
    return text + "."


def among(setting: Setting, evidence: Evidence) -> str:
    """Name the set of images in a sentence where the store holds several."""
    return f" on {setting.title}" if len(evidence.settings) > 1 else ""


@dataclass(frozen=True)
class Curves:
    """Estimates of several models along one axis, drawn as lines or, for many, as a heat map."""

    across: Axis
    up: Axis
    high_is_good: bool = True

    def figure(
        self, members: Sequence[Member], points: Mapping[str, Mapping[float, Estimate]]
    ) -> Figure:
        """Draw the `points` of each member, by its label."""
        if len(members) > MOST_LINES:
            return self._grid(points)
        drawn = [Line(m.label, m.style, points[m.label]) for m in members if points.get(m.label)]
        return lines(drawn, self.across, self.up)

    def height(self, members: Sequence[Member]) -> int:
        """Height of the figure in pixels."""
        return grid_height(len(members)) if len(members) > MOST_LINES else LINE_HEIGHT

    def _grid(self, points: Mapping[str, Mapping[float, Estimate]]) -> Figure:
        places = sorted({place for curve in points.values() for place in curve})
        sign = -1 if self.high_is_good else 1
        names = sorted(points, key=lambda name: (sign * _mean(points[name]), name))
        cells = [[points[name].get(place) for place in places] for name in names]
        grid = Grid(
            rows=names,
            columns=[_tick(self.across, place) for place in places],
            values=[[None if e is None else e.value for e in row] for row in cells],
            hover=[
                [
                    f"{label(name)}<br>{self.across.title}: {self.across.write(place)}<br>"
                    f"{hover_estimate(e)}"
                    for place, e in zip(places, row, strict=True)
                ]
                for name, row in zip(names, cells, strict=True)
            ],
        )
        return heat_map(grid, across=self.across.title, high_is_good=self.high_is_good)


def hover_estimate(found: Estimate | None) -> str:
    """An estimate with its interval and count, for a hover text."""
    if found is None:
        return numbers.NOT_MEASURED
    reads = numbers.percent_interval(found.value, found.low, found.high)
    return f"{reads}, {numbers.count(found.count)} images"


def counts_note(estimates: Sequence[Estimate]) -> str:
    """Say how many images each number rests on."""
    counts = sorted({found.count for found in estimates})
    if not counts:
        return ""
    if len(counts) == 1:
        return f"Each number rests on {numbers.count(counts[0])} images."
    low, high = numbers.count(counts[0]), numbers.count(counts[-1])
    return f"Each number rests on {low} to {high} images."


def _mean(points: Mapping[float, Estimate]) -> float:
    return sum(found.value for found in points.values()) / max(1, len(points))


def _tick(axis: Axis, place: float) -> str:
    texts = dict(zip(axis.ticks or (), axis.tick_texts or (), strict=False))
    return texts.get(place, axis.write(place))
