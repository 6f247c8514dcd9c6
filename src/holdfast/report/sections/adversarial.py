"""A few adversarial images, beside the clean ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from holdfast.report import numbers
from holdfast.report.attacks import attacks, headline
from holdfast.report.blocks import Block, Card, Content, Gallery, Heading, Picture
from holdfast.report.conditions import CLEAN, Condition
from holdfast.report.evidence import MOST_PANELS, Evidence, Member, Setting
from holdfast.report.sections._attack import attacked
from holdfast.report.sections._base import per_setting, section, settings_note

MOST_CARDS = 6  # of a model under an attack
MOST_BYTES = 6_000_000  # of all pictures in the page
_FILES = ("clean", "difference", "perturbed")
_NOTE = (
    "The perturbation is amplified until its strongest pixel is black or white, around mid gray: "
    "compare its size, not its contrast. In brackets is the confidence. Shown are the first "
    "images, in the order of their ids, that were right before the attack and fell. Where smaller "
    "radii were tried before, an image that fell there is shown as it was found there."
)


@section("adversarial", title="Adversarial images", order=44)
def build(evidence: Evidence) -> Content | None:
    """Cards of each model under the attack that matters most in each norm."""
    if not attacked(evidence):
        return None
    budget = [MOST_BYTES]
    blocks = per_setting(evidence, lambda setting: list(_blocks(setting, evidence, budget)))
    cards = [card for block in blocks if isinstance(block, Gallery) for card in block.cards]
    if not cards:
        return None
    lead = (
        f"{numbers.sentence(numbers.counted(len(cards), 'image'))} that the models "
        "classified rightly until an attack changed their pixels."
    )
    return Content(lead, blocks, f"{_NOTE} {settings_note(evidence)}".strip())


def _blocks(setting: Setting, evidence: Evidence, budget: list[int]) -> Iterator[Block]:
    """Headed galleries; `budget` holds the bytes that are left for pictures in the page."""
    norms = {condition.norm or "" for condition in attacks(setting)}
    for place, norm in enumerate(sorted(norms, reverse=True)):  # Linf, L2, L1
        condition = headline(setting, norm)
        if condition is None:
            continue
        for row, member in enumerate(setting.members[:MOST_PANELS]):
            cards = list(_cards(member, condition, evidence, budget))
            if cards:
                yield Heading(f"{member.label} under {condition.title}")
                name = f"adversarial-{setting.number}-{place}-{row}"
                about = f"Clean image, perturbation and adversarial image of {member.label}"
                yield Gallery(name, about, cards)


def _cards(
    member: Member, condition: Condition, evidence: Evidence, budget: list[int]
) -> Iterator[Card]:
    pictures = evidence.pictures(member.subject, condition.spec).head(MOST_CARDS)
    if pictures.is_empty():
        return
    before = _confidences(evidence.samples(member.subject, CLEAN), pictures)
    after = _confidences(evidence.samples(member.subject, condition.spec), pictures)
    for row in pictures.iter_rows(named=True):
        budget[0] -= sum(len(row[name]) for name in _FILES)
        if budget[0] < 0:
            return
        yield _card(row, condition, before.get(row["id"]), after.get(row["id"]))


def _confidences(samples: pl.DataFrame | None, pictures: pl.DataFrame) -> Mapping[int, float]:
    if samples is None:
        return {}
    shown = samples.filter(pl.col("id").is_in(pictures["id"].to_list()))
    return dict(shown.select("id", "confidence").iter_rows())


def _card(
    row: Mapping[str, Any], condition: Condition, before: float | None, after: float | None
) -> Card:
    size = numbers.size(row["norm"], condition.norm or "")
    texts: Sequence[tuple[str, str]] = (
        ("clean image", _said(row["clean_prediction"], before)),
        (f"perturbation, amplified, of size {size}", size),
        ("adversarial image", _said(row["prediction"], after)),
    )
    return Card(
        title=f"True class {row['label']}",
        pictures=[
            Picture(row[name], f"{about}: {text}", text)
            for name, (about, text) in zip(_FILES, texts, strict=True)
        ],
    )


def _said(prediction: int, confidence: float | None) -> str:
    surely = "" if confidence is None else f" ({numbers.percent(confidence, 0)})"
    return f"said {prediction}{surely}"
