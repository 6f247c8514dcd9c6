"""How to measure, apart from what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import checked_seed
from holdfast.measuring.view import View
from holdfast.models import Classifier

_PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    condition: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure.

    Attributes:
        view: At which size perturbations act.
        seed: Keys their randomness.
        precision: In which adversarial images are searched; they are confirmed in float32.
        until: Draw images in a fixed random order until the 95 % interval of the accuracy is
            this narrow, from its middle to an end.
        source: Model on which attacks are crafted, in place of the one that is measured.
        batch_size: Images evaluated at a time; None chooses by image size and device.
        compile_net: Compile the network that is searched with torch.compile.
        study: Name of the study in the records.
        progress: Called whenever samples are finished.
    """

    view: View = field(default_factory=lambda: View("model"))
    seed: int = 0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    until: float | None = None
    source: Classifier | None = None
    batch_size: int | None = None
    compile_net: bool = False
    study: str = ""
    progress: Callable[[Progress], None] = lambda _: None

    def __post_init__(self) -> None:
        sized = self.batch_size is None or type(self.batch_size) is int
        if not sized or (self.batch_size is not None and self.batch_size < 1):
            raise BadValueError(
                f"batch size must be a whole number from 1, got {self.batch_size!r}"
            )
        checked_seed(self.seed)
        if self.precision not in _PRECISIONS:
            raise BadValueError(
                f"precision must be one of {', '.join(_PRECISIONS)}, got {self.precision!r}"
            )
        if self.until is not None:
            _check_halfwidth(self.until)


def _check_halfwidth(until: Any) -> None:
    wanted = (
        "until_halfwidth (--until-halfwidth) is the half-width of an interval of a fraction, a "
        "number between 0 and 0.5, such as 0.01"
    )
    if isinstance(until, bool) or not isinstance(until, int | float):
        raise BadTypeError(f"{wanted}; got {until!r}")
    if not 0 < until < 0.5:
        raise BadValueError(f"{wanted}; got {until}")
