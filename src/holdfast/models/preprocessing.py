"""How a network wants its pixels: size, cut, channels and normalization."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from holdfast.core.errors import BadTypeError, BadValueError

Interpolation = Literal["bilinear", "bicubic"]
Resize = Literal["short", "squash", "border"]

_PIL = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """A network's own evaluation transform, split at the point where pixels are perturbed.

    `prepare` works on decoded pictures with PIL, to the bit as timm and torchvision do it.
    `stretch` and `cut` do on tensors what is left for pictures of other sizes; they are
    differentiable, antialiased, and differ from PIL by its rounding to 8 bits after each axis.

    Attributes:
        input_size: Height and width that the network takes; None takes any size.
        scale_size: Height and width aimed at before the center crop; None means `input_size`.
        channels: 3, or 1 for gray.
        mean: Subtracted a channel, in [0, 1] units; empty when the network takes [0, 1] as is.
        std: Divided by; as long as `mean`.
        interpolation: Of every resize.
        resize: `short` scales the short side and keeps the aspect, `squash` scales both sides,
            `border` scales the long side and pads with the mean color.
    """

    input_size: tuple[int, int] | None = None
    scale_size: tuple[int, int] | None = None
    channels: int = 3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: Interpolation = "bilinear"
    resize: Resize = "short"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise BadValueError(f"a classifier takes 1 or 3 channels, got channels={self.channels}")
        sizes: dict[str, tuple[int, ...] | None]
        sizes = {"input_size": self.input_size, "scale_size": self.scale_size}
        for what, size in sizes.items():
            if size is not None and not (len(size) == 2 and min(size) > 0):
                raise BadValueError(f"{what} must be (height, width) in pixels, got {size}")
        if self.interpolation not in _PIL:
            raise BadValueError(
                f"interpolation must be bilinear or bicubic, got {self.interpolation!r}"
            )
        self._check_normalization()

    def _check_normalization(self) -> None:
        lengths = {len(self.mean), len(self.std)}
        if lengths not in ({0}, {self.channels}):
            raise BadValueError(
                f"mean and std need {self.channels} values each (or none), "
                f"got mean={self.mean}, std={self.std}"
            )
        numbers = (*self.mean, *self.std)
        if not all(math.isfinite(value) for value in numbers) or min(self.std, default=1) <= 0:
            raise BadValueError(f"std must be positive, got mean={self.mean}, std={self.std}")
        if max((abs(value) for value in numbers), default=0) > 1.5:
            raise BadValueError(
                "mean and std are in [0, 1] pixel units, "
                f"got mean={self.mean}, std={self.std}; divide both by 255"
            )

    @property
    def crop_fraction(self) -> float:
        """Part of the scaled height that the crop keeps; 1.0 where nothing is cropped."""
        if self.input_size is None or self.scale_size is None:
            return 1.0
        return self.input_size[0] / self.scale_size[0]

    def __str__(self) -> str:
        """Text that two preprocessings share exactly when they act alike; part of identity."""
        size = "any size"
        if self.input_size is not None:
            scale = self.scale_size or self.input_size
            size = f"{_by(self.input_size)} of {_by(scale)} {self.resize} {self.interpolation}"
        scaling = f"mean={_listed(self.mean)} std={_listed(self.std)}" if self.mean else "no mean"
        return f"{size}, {'gray' if self.channels == 1 else 'RGB'}, {scaling}"

    def resized_to(
        self, size: int | tuple[int, int], resize: Literal["squash", "short"] = "squash"
    ) -> Preprocessing:
        """Return the same channels, normalization and interpolation at another size.

        Args:
            size: Height and width in pixels; one number for both.
            resize: `squash` scales both sides, so that nothing is cropped; `short` scales the
                short side and cuts the center.

        Raises:
            BadValueError: A side below one pixel, or another word.
        """
        if resize not in ("squash", "short"):
            raise BadValueError(f"resize must be squash or short, got {resize!r}")
        sides = (size, size) if isinstance(size, int) else size
        return replace(self, input_size=sides, scale_size=None, resize=resize)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Resize and center-crop one picture, uint8 [H, W, 3] -> uint8 [h, w, 3].

        Raises:
            BadTypeError: Not uint8 [H, W, 3].
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise BadTypeError(
                f"expected a picture uint8 [H, W, 3], got {image.dtype} {list(image.shape)}"
            )
        if self.input_size is None:
            return image
        height, width = self._scaled(image.shape[0], image.shape[1], self.input_size)
        if (height, width) != image.shape[:2]:
            picture = Image.fromarray(image).resize((width, height), _PIL[self.interpolation])
            image = np.asarray(picture)
        if (height, width) == self.input_size:
            return image
        canvas = np.empty((*self.input_size, 3), np.uint8)
        canvas[:] = [round(255 * value) for value in self._fill(3)]
        rows = _overlap(height, self.input_size[0])
        columns = _overlap(width, self.input_size[1])
        canvas[rows[1], columns[1]] = image[rows[0], columns[0]]
        return canvas

    def stretch(self, images: Tensor) -> Tensor:
        """Scale both sides to the input size, [B, C, H, W] in [0, 1] -> [B, C, h, w]."""
        return images if self.input_size is None else self._resample(images, self.input_size)

    def cut(self, images: Tensor) -> Tensor:
        """Resize and center-crop as `prepare` does, [B, C, H, W] in [0, 1] -> [B, C, h, w]."""
        if self.input_size is None:
            return images
        height, width = self._scaled(images.shape[2], images.shape[3], self.input_size)
        images = self._resample(images, (height, width))
        rows = _overlap(height, self.input_size[0])
        columns = _overlap(width, self.input_size[1])
        images = images[:, :, rows[0], columns[0]]
        if images.shape[2:] == self.input_size:
            return images
        # Padding is constant per channel only if zero stands for the fill.
        fill = _per_channel([round(255 * value) / 255 for value in self._fill(3)], images)
        top, left = rows[1].start, columns[1].start
        bottom = self.input_size[0] - top - images.shape[2]
        right = self.input_size[1] - left - images.shape[3]
        return F.pad(images - fill, (left, right, top, bottom)) + fill

    def _scaled(self, height: int, width: int, input_size: tuple[int, int]) -> tuple[int, int]:
        target = self.scale_size or input_size
        if self.resize == "squash":
            return target
        ratios = (height / target[0], width / target[1])
        if self.resize == "border":
            ratio = max(ratios)
            return round(height / ratio), round(width / ratio)
        if target[0] != target[1]:
            ratio = min(ratios)
            return round(height / ratio), round(width / ratio)
        # torchvision truncates the long side where timm rounds it.
        if width <= height:
            return int(target[0] * height / width), target[0]
        return target[0], int(target[0] * width / height)

    def _fill(self, channels: int) -> tuple[float, ...]:
        if self.resize != "border" or not self.mean:
            return (0.0,) * channels
        return self.mean if len(self.mean) == channels else self.mean * channels

    def _resample(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        if images.shape[2:] == size:
            return images
        images = F.interpolate(
            images, size, mode=self.interpolation, antialias=True, align_corners=False
        )
        # Cubic weights overshoot; 8-bit pictures clip there too.
        return images.clamp(0, 1) if self.interpolation == "bicubic" else images


def _overlap(size: int, target: int) -> tuple[slice, slice]:
    """What is read of a side and where it lands; torchvision's rounding."""
    if size >= target:
        start = round((size - target) / 2)
        return slice(start, start + target), slice(0, target)
    start = (target - size) // 2
    return slice(0, size), slice(start, start + size)


def _per_channel(values: tuple[float, ...] | list[float], images: Tensor) -> Tensor:
    row = torch.tensor(values[: images.shape[1]], dtype=images.dtype, device=images.device)
    return row.view(1, -1, 1, 1)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
