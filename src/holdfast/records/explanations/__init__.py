"""What `holdfast explain` leaves behind: a folder with one file a kind, and a page made of it.

Accuracies are fractions in [0, 1]; a number without data is NaN here and null in the files.
"""

from holdfast.records.explanations._base import Explanation, Value
from holdfast.records.explanations.advice import Advice, Advised, Consequence
from holdfast.records.explanations.anatomy import ANATOMY_COLUMNS
from holdfast.records.explanations.causal import Causal, Contrast, Trained, Variant
from holdfast.records.explanations.fine_tuning import (
    BestOf,
    Configuration,
    FineTuning,
    Odds,
    Protocol,
    Proxy,
)
from holdfast.records.explanations.folder import (
    ANATOMY_FILE,
    FILES,
    read_anatomy,
    read_explanation,
    write_anatomy,
    write_explanation,
)
from holdfast.records.explanations.ranks import AccuracyLine, Agreement, RankedModel, Ranks
from holdfast.records.explanations.rules import (
    Effect,
    GroupTest,
    HeldOut,
    Judgement,
    Linearity,
    ModelSlope,
    Outcome,
    Rules,
    Verdict,
)
from holdfast.records.explanations.theory import (
    Gain,
    Layer,
    Pooling,
    Preprocess,
    Response,
    Theory,
)

__all__ = [
    "ANATOMY_COLUMNS",
    "ANATOMY_FILE",
    "FILES",
    "AccuracyLine",
    "Advice",
    "Advised",
    "Agreement",
    "BestOf",
    "Causal",
    "Configuration",
    "Consequence",
    "Contrast",
    "Effect",
    "Explanation",
    "FineTuning",
    "Gain",
    "GroupTest",
    "HeldOut",
    "Judgement",
    "Layer",
    "Linearity",
    "ModelSlope",
    "Odds",
    "Outcome",
    "Pooling",
    "Preprocess",
    "Protocol",
    "Proxy",
    "RankedModel",
    "Ranks",
    "Response",
    "Rules",
    "Theory",
    "Trained",
    "Value",
    "Variant",
    "Verdict",
    "read_anatomy",
    "read_explanation",
    "write_anatomy",
    "write_explanation",
]
