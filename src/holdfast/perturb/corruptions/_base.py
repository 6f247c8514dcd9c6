"""What a corruption is: constants with their source, `draw`, and `apply`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import Keys, keys_for
from holdfast.core.registry import Registry
from holdfast.core.specs import canonical
from holdfast.perturb.base import Batch, Classifier, Outcome, Perturbation, forward_once, to_8_bit

Family = Literal[32, 64, 224]
Drawn = Mapping[str, Tensor]  # each [B, ...]; empty for a deterministic corruption

_CACHED = 1 << 17  # pixel values a core works on at a time

CORRUPTIONS: Registry[type[Corruption]] = Registry("corruption")


def family_of(height: int, width: int) -> Family:
    """Which published set of constants suits an image: 32 to 47 px, 64 to 127, 224 above."""
    side = min(height, width)
    if side < 48:
        return 32
    return 64 if side < 128 else 224


@dataclass(frozen=True, kw_only=True)
class Corruption(Perturbation):
    """Change to an image that needs no model, at one of five severities.

    Attributes:
        severity: 1 (weakest) to 5.
        family: Size family whose published constants apply; None chooses by image size.
    """

    name: ClassVar[str]  # set by `corruption`
    free: ClassVar[tuple[str, ...]] = ()  # parameters that may stand in place of a severity
    levels: ClassVar[Mapping[int, tuple[Any, ...]]]  # family -> settings of severity 1..5

    severity: int | None = None
    family: Family | None = None

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Refuse anything but one severity from 1 to 5, or the free parameters in its place.

        Raises:
            BadTypeError: The severity is not a whole number, or a free parameter no number.
            BadValueError: Both or neither are given, one is out of range, or the family is not
                32, 64 or 224.
        """
        given = [name for name in self.free if getattr(self, name) is not None]
        if given and (self.severity is not None or self.family is not None):
            raise BadValueError(
                f"{self.name} takes a severity (with or without a family) or a {self.free[0]}, "
                f"not both, got severity={self.severity}, family={self.family} and "
                f"{', '.join(f'{name}={getattr(self, name)}' for name in given)}"
            )
        if given:
            self.check_free()
            return
        if self.severity is None:
            either = "".join(f" or a {name}" for name in self.free[:1])
            raise BadValueError(
                f"{self.name} needs a severity{either}, as in {self.name}(severity=3)"
            )
        self._check_level()

    def check_free(self) -> None:
        """Refuse free parameters that cannot be used; for corruptions that have some."""

    def _check_level(self) -> None:
        if type(self.severity) is not int:
            raise BadTypeError(
                f"{self.name} severity must be a whole number, got {self.severity!r}"
            )
        if self.severity not in range(1, 6):
            raise BadValueError(f"{self.name} severity must be 1..5, got {self.severity}")
        if self.family not in (None, *get_args(Family)):
            raise BadValueError(
                f"{self.name} family must be 32, 64 or 224, got {self.family}; leave it out to "
                "choose by image size"
            )

    def set_number(self, name: str, largest: float, about: str) -> None:
        """Make a free parameter a float, so that however it was written the text is one.

        Raises:
            BadTypeError: It is not a number.
            BadValueError: It is not from 0 to `largest`.
        """
        value = getattr(self, name)
        if not isinstance(value, Real) or isinstance(value, bool):
            raise BadTypeError(f"{self.name} {name} must be a number, got {value!r}")
        number = float(value)
        if not 0 <= number <= largest:
            raise BadValueError(
                f"{self.name} {name} must be from 0 to {largest:g}, got {value}; it is {about}"
            )
        object.__setattr__(self, name, number)

    @property
    def spec(self) -> str:
        """Canonical text."""
        return canonical(self.name, self)

    @property
    def kind(self) -> str:
        """Corruption, or noise where a subclass takes a free sigma."""
        return "corruption"

    def columns(self) -> Mapping[str, float | int | str | None]:
        """Severity, for the record."""
        return {"severity": self.severity}

    def level(self, images_or_shape: Tensor | tuple[int, ...]) -> Any:
        """Published setting for this severity at this image size.

        Args:
            images_or_shape: Images, or any shape that ends in (H, W).

        Raises:
            BadValueError: There is no severity, because a subclass took a free sigma.
        """
        if self.severity is None:
            raise BadValueError(f"{self.spec} has no published level; it has no severity")
        shape = getattr(images_or_shape, "shape", images_or_shape)
        family = self.family or family_of(*shape[-2:])
        return self.levels[family][self.severity - 1]

    def draw(self, shape: tuple[int, int, int], keys: Keys) -> Drawn:
        """Draw all randomness for images of `shape` (C, H, W), one set a key."""
        return {}

    @abstractmethod
    def apply(self, images: Tensor, drawn: Drawn) -> Tensor:
        """Corrupt images [B, C, H, W] in [0, 1], C 1 or 3, on any device; pure.

        May leave [0, 1]; the caller clips.
        """

    def corrupt(self, images: Tensor, ids: Tensor, *, seed: int) -> Tensor:
        """Draw and apply; float [B, C, H, W], clipped to [0, 1], not rounded.

        Samples are independent, so a batch goes in parts that stay in the cache of a core.
        """
        images = images.detach()
        keys = keys_for(ids.to(images.device), seed=seed, stream=self.name)
        shape = (images.shape[1], images.shape[2], images.shape[3])
        corrupted = torch.empty_like(images)
        step = max(1, len(images))
        if images.device.type == "cpu":
            step = max(1, _CACHED * torch.get_num_threads() // max(1, math.prod(shape)))
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            drawn = self.draw(shape, Keys(keys.words[part]))
            torch.clamp(self.apply(images[part], drawn), 0, 1, out=corrupted[part])
        return corrupted

    def run(self, batches: Iterable[Batch], classifier: Classifier, seed: int) -> Iterator[Outcome]:
        """Measure each batch, corrupted and cut to 8 bits as a stored picture is."""
        for batch in batches:
            images = to_8_bit(self.corrupt(batch.images, batch.ids, seed=seed))
            yield forward_once(batch, images, classifier)


corruption = CORRUPTIONS.named  # the decorator of each
