"""What the sections on attacks say alike."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.report import numbers
from holdfast.report.attack_text import norm_name
from holdfast.report.attacks import attacks, headline
from holdfast.report.conditions import Condition
from holdfast.report.evidence import Evidence, Setting
from holdfast.report.figures import Axis

MOST_ATTACKS = 12  # attacks in a menu whose figures read every sample
_MOST_TICKS = 9


def attacked(evidence: Evidence) -> list[Setting]:
    """Settings with an attack, as they stand in the page."""
    return [setting for setting in evidence.settings if attacks(setting)]


def listed_attacks(setting: Setting) -> list[Condition]:
    """Attacks with an eps for a menu, what a reader asks for first on top."""
    first = headline(setting)
    known = [condition for condition in attacks(setting) if condition.eps is not None]
    return sorted(known, key=lambda condition: condition != first)[:MOST_ATTACKS]


def eps_axis(norm: str, places: Iterable[float]) -> Axis:
    """Axis of radii from 0, ticks at the places where these are few; Linf in 255ths."""
    known = sorted(set(places))
    linf = norm == "linf"
    unit, named = (255.0, "in 255ths of the pixel range") if linf else (1.0, "pixel range 0 to 1")
    title = f"{norm_name(norm)} radius eps ({named})"
    ticks = known if len(known) <= _MOST_TICKS else _spread(known[-1], unit)
    texts = [f"{tick * unit:.3g}" for tick in ticks]
    top = known[-1] if known else 1.0
    return Axis(
        title,
        -0.02 * top,
        1.02 * top,
        ticks=ticks,
        tick_texts=texts,
        write=lambda place: numbers.radius(place, norm) if place else "0",
    )


def _spread(top: float, unit: float) -> list[float]:
    """Round places from 0 to `top`, some five of them."""
    span = top * unit
    steps = (m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5))
    step = next(step for step in steps if span / step <= 6)
    return [n * step / unit for n in range(int(span / step + 1e-9) + 1)]
