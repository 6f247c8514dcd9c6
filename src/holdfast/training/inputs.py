"""Sections of a recipe that say what a training starts from: images and a network."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from holdfast.models import Preprocessing
from holdfast.training.section import Section, sides


class DataSection(Section):
    """Which images.

    Attributes:
        name: As `holdfast measure --data` takes it: cifar10, folder:DIR, npz:FILE, ...
        split: Of the training images.
        validation: A share of them held out (stratified, fixed), or the name of another split;
            None measures nothing while training.
        validation_name: Data set of that other split, where it is not the same.
        labels: As `--labels`.
        n: Train on so many of them, the same ones for every seed.
        size: Side, or height and width, in pixels; None is the network's own.
        resize: short keeps the aspect and crops, squash does not; None is the network's own.
    """

    name: str = Field(min_length=1)
    split: str = "train"
    validation: str | float | None = 0.1
    validation_name: str | None = None
    labels: str | None = None
    n: int | None = Field(default=None, ge=2)
    size: int | tuple[int, int] | None = None
    resize: Literal["short", "squash"] | None = None

    @field_validator("validation")
    @classmethod
    def _share(cls, value: str | float | None) -> str | float | None:
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError(f"expected a share between 0 and 1, got {value:g}; null for none")
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _sides(cls, value: Any) -> Any:
        return sides(value)

    @model_validator(mode="after")
    def _other(self) -> DataSection:
        if self.validation_name is not None and not isinstance(self.validation, str):
            raise ValueError(
                "validation_name needs validation to be the name of a split there, got "
                f"{self.validation}; write data.validation=test"
            )
        return self


class ModelSection(Section):
    """Which network, and what it starts from.

    Attributes:
        name: As `holdfast measure --model` takes it, or a folder that `holdfast train` wrote.
        weights: Checkpoint to start from, instead of the pretrained weights.
        pretrained: Whether to start from the weights that come with the name, if any do.
        part: Of these weights: backbone draws a fresh last layer, as torch does
            whatever the architecture's own rule; all keeps theirs.
        mean: Of the normalization, in [0, 1]; None is the network's own.
        std: As long as `mean`.
    """

    name: str = Field(min_length=1)
    weights: str | None = None
    pretrained: bool = True
    part: Literal["all", "backbone"] = "backbone"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _both(self) -> ModelSection:
        if (self.mean is None) != (self.std is None):
            raise ValueError(
                f"mean and std go together, got mean={self.mean} and std={self.std}; give both or "
                "neither"
            )
        if self.mean is not None and self.std is not None:
            Preprocessing(channels=len(self.mean), mean=self.mean, std=self.std)
        return self
