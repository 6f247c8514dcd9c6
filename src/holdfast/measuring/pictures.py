"""A few perturbed images, kept with the run so that a page can show them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from holdfast.perturb.base import Outcome
from holdfast.records import PICTURE_COLUMNS

_MOST = 12  # pictures of a run
_LARGEST = 256  # pixels a side; larger images are shown smaller


@dataclass(frozen=True)
class _Picture:
    numbers: np.ndarray  # label, prediction, norm
    pixels: np.ndarray  # uint8 [3, H, W, C]: clean, difference, perturbed


@dataclass
class Pictures:
    """The samples with the smallest ids that a perturbation changed, by id.

    Which ones are kept does not depend on the order in which they come.
    """

    kept: dict[int, _Picture] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Look at some outcomes; only those with `originals` and a `norm` above 0 are kept."""
        if outcome.originals is None or "norm" not in outcome.extra:
            return
        changed = (outcome.extra["norm"] > 0).nonzero()[:, 0].cpu()
        order = changed[outcome.ids.cpu()[changed].argsort()]
        for row in order[:_MOST].tolist():
            numbers = [
                float(outcome.labels[row]),
                float(outcome.logits[row].argmax()),
                float(outcome.extra["norm"][row]),
            ]
            pixels = _triple(outcome.originals[row], outcome.images[row])
            self.kept[int(outcome.ids[row])] = _Picture(np.array(numbers), pixels)
        self._prune()

    def merge(self, other: Pictures) -> None:
        """Take those of another part."""
        self.kept |= other.kept
        self._prune()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, two a picture."""
        arrays = {f"numbers_{id_}": picture.numbers for id_, picture in self.kept.items()}
        return arrays | {f"pixels_{id_}": picture.pixels for id_, picture in self.kept.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Pictures:
        """Inverse of `to_arrays`."""
        ids = [name.removeprefix("pixels_") for name in arrays if name.startswith("pixels_")]
        pictures = [_Picture(arrays[f"numbers_{i}"], arrays[f"pixels_{i}"]) for i in ids]
        return cls(dict(zip(map(int, ids), pictures, strict=True)))

    def table(self) -> pl.DataFrame:
        """Columns as `PICTURE_COLUMNS`, the images as PNG files."""
        rows = []
        for id_, picture in sorted(self.kept.items()):
            label, prediction, norm = picture.numbers.tolist()
            files = [_png(pixels) for pixels in picture.pixels]
            # Only images that were right before they were perturbed are kept.
            numbers = [id_, int(label), int(label), int(prediction), norm]
            rows.append(dict(zip(PICTURE_COLUMNS, [*numbers, *files], strict=True)))
        return pl.DataFrame(rows, schema=PICTURE_COLUMNS)

    def _prune(self) -> None:
        self.kept = {id_: self.kept[id_] for id_ in sorted(self.kept)[:_MOST]}


def _triple(clean: Tensor, perturbed: Tensor) -> np.ndarray:
    """Clean, difference and perturbed image as uint8 [3, H, W, C].

    The difference is amplified so that its largest pixel reaches black or white.
    """
    difference = (perturbed - clean).float()
    most = difference.abs().amax().clamp_min(1e-12)
    shown = torch.stack([clean, 0.5 + 0.5 * difference / most, perturbed]).cpu()
    if max(shown.shape[2:]) > _LARGEST:
        scale = _LARGEST / max(shown.shape[2:])
        shown = torch.nn.functional.interpolate(shown, scale_factor=scale, mode="area")
    return (shown * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _png(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    body = io.BytesIO()
    image.save(body, format="PNG")
    return body.getvalue()
