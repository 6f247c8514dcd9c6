"""Looking for a recipe's settings: `Tuning(...).run()`, then `Tuning.result()`."""

from holdfast.training.tuning.halving import Halving
from holdfast.training.tuning.journal import Trial
from holdfast.training.tuning.presets import SPACES
from holdfast.training.tuning.results import TuningResult, read_tuning, write_result
from holdfast.training.tuning.runner import Runner, TrainingRunner
from holdfast.training.tuning.settings import METRICS, TuningOptions
from holdfast.training.tuning.space import Dimension, Space, load_space, space_of
from holdfast.training.tuning.tuning import Tuning

__all__ = [
    "METRICS",
    "SPACES",
    "Dimension",
    "Halving",
    "Runner",
    "Space",
    "TrainingRunner",
    "Trial",
    "Tuning",
    "TuningOptions",
    "TuningResult",
    "load_space",
    "read_tuning",
    "space_of",
    "write_result",
]
