"""What would help one model: changes, what they are predicted to do, and what they did."""

from __future__ import annotations

import math
from typing import Literal

from holdfast.records._parts import Number, Part
from holdfast.records.explanations._base import Explanation, Value


class Consequence(Part):
    """What a change does under one condition; differences of accuracies, fractions.

    Attributes:
        condition: Canonical text; `clean` is one.
        predicted: Change of accuracy; NaN for conditions other than clean and the noise.
        measured: Paired with the original on the same images, with its interval.
        before: Accuracy of the original.
        after: Accuracy of the changed model.
    """

    condition: str
    predicted: Value
    measured: Value
    before: Value
    after: Value


class Advised(Part):
    """One change.

    Attributes:
        change: Canonical text of the change, such as `low_pass(std=0.6)`.
        model: Spec of the changed model, which every verb takes.
        about: One line about it.
        why: How the prediction was made, with its numbers.
        status: `measured`; `does not apply` to this model, with the reason in `why`; `failed`.
        equivalent_sigma: Of the noise that takes the original as far from its clean self as the
            changed model is under the noise that was asked about.
        view: At which size noise is added, as `--view`.
        fine_tuned: Epochs of fine-tuning after the change, of both models; 0 is none.
        consequences: Under each condition.
        helps: Conditions under which the interval of the difference is above zero.
    """

    change: str
    model: str = ""
    about: str = ""
    why: str = ""
    status: Literal["measured", "does not apply", "failed"] = "measured"
    equivalent_sigma: Number = math.nan
    view: str = "model"
    fine_tuned: int = 0
    consequences: tuple[Consequence, ...] = ()
    helps: tuple[str, ...] = ()


class Advice(Explanation):
    """Advice on one model, measured on one set of images.

    Attributes:
        model: Its name.
        data: Name and split.
        images: How many.
        conditions: Under which all were measured.
        curve: Accuracy of the original by sigma, from which predictions are read.
        advised: Best first: by the largest gain whose clean loss is at most `clean_loss`.
        clean_loss: Loss of clean accuracy that is thought acceptable, a fraction.
        gain: Gain that is thought worth it, a fraction.
        verdict: One sentence: which change helps, or that none does.
    """

    model: str
    data: str
    images: int = 0
    conditions: tuple[str, ...] = ()
    curve: tuple[tuple[Number, Number], ...] = ()
    advised: tuple[Advised, ...] = ()
    clean_loss: Number = 0.01
    gain: Number = 0.02
    verdict: str = ""
