"""What the numbers mean, from the cards of the metrics that the store holds."""

from __future__ import annotations

from holdfast.metrics.cards import METRICS, MetricCard
from holdfast.report import numbers
from holdfast.report.attacks import attacks
from holdfast.report.blocks import Content, Definitions
from holdfast.report.evidence import Evidence
from holdfast.report.sections._base import section

_TERMS = (
    (
        "Interval",
        (
            "In brackets after a number: 95 % of such intervals hold the value that endless images "
            "of the same kind would give. Two models on the same images can differ for certain "
            "although their intervals overlap; a paired test decides that, not this page."
        ),
    ),
    (
        "not measured, no data",
        (
            "The first: no run of this store says so. The second: a run had no image to count. "
            "Neither is a zero."
        ),
    ),
    (
        "Sigma",
        "Standard deviation of Gaussian noise added to pixels that range from 0 to 1.",
    ),
    (
        "Severity",
        (
            "Strength of a corruption, 1 to 5, as Hendrycks and Dietterich (2019, "
            "arXiv:1903.12261) set them."
        ),
    ),
    (
        "View",
        (
            "Where the perturbation happens: view model at the size that the model sees, a number "
            "at that size in pixels, native on the original image."
        ),
    ),
)
_ATTACK_TERMS = (
    (
        "Robust accuracy",
        (
            "Accuracy under attack: share of images for which no adversarial image was found. "
            "Each counted success was confirmed by a fresh float32 pass and lies within eps and "
            "the pixel range."
        ),
    ),
    (
        "eps, norm",
        (
            "The largest perturbation allowed: for Linf of any one pixel value, for L2 in "
            "Euclidean length, for L1 in the sum over all values, in units of the pixel range 0 to "
            "1. For Linf it is written in 255ths, the steps of a stored picture."
        ),
    ),
)
_DIRECTIONS = {"higher": "Higher is better. ", "lower": "Lower is better. "}
_DERIVED = ("mean_corruption_accuracy", "robustness_slope", "noise_curve_area")


@section("reading", title="How to read this page", order=100)
def build(evidence: Evidence) -> Content:
    """Terms, then one entry a metric."""
    measured = set(evidence.measurements["metric"].unique())
    shown = measured | set(_DERIVED) | ({"mce"} if evidence.baseline else set())
    cards = [METRICS[name] for name in METRICS if name in shown]
    entries = [(card.title, _meaning(card)) for card in sorted(cards, key=lambda c: c.title)]
    attacked = any(attacks(setting) for setting in evidence.settings)
    terms = [*_TERMS, *(_ATTACK_TERMS if attacked else ())]
    lead = (
        f"{numbers.sentence(numbers.counted(len(terms), 'term'))} and "
        f"{numbers.counted(len(entries), 'metric')}, as used above."
    )
    return Content(lead, (Definitions([*terms, *entries]),))


def _meaning(card: MetricCard) -> str:
    return f"{card.definition} {_DIRECTIONS.get(card.better, '')}Source: {card.source}."
