"""Sets of adversarial images as files, for training, galleries and other tools.

Both formats hold the same arrays: `x` and `clean` (see below), `y`, `id`, `prediction` (-1 where
logits were not finite), `fallen`, `norm`, `broken_by` (place of the attack in `members`; -1 wrong
from the start, their number where the sample stands), `forward_evals`, `gradient_evals`; and one
JSON text, `metadata`. As they were crafted, `x` is float32 [N, C, H, W]; as pictures, `x` is
uint8 [N, H, W, C], which data sets of the kind `npz:FILE` take. `clean` has the axes of `x`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.core.version import VERSION
from holdfast.perturb.attacks.balls import BALLS, Ball
from holdfast.perturb.attacks.craft import Crafted
from holdfast.perturb.attacks.entrance import Shown, evaluating, place_of
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.attacks.samples import limit
from holdfast.perturb.base import Classifier

SUFFIXES = (".npz", ".safetensors")
_READ = 64  # pictures shown to the model at a time
_LEVELS = 255


@dataclass(frozen=True)
class AdversarialSet:
    """Crafted images with what they were made of.

    Attributes:
        crafted: What became of the samples.
        clean: Their own images on 8-bit levels, uint8 [N, C, H, W].
        labels: int64 [N].
        ids: int64 [N].
        metadata: Further things to tell, of JSON types.
        pictures: Whether the images stand on 8-bit levels and are written so.
    """

    crafted: Crafted
    clean: Tensor
    labels: Tensor
    ids: Tensor
    metadata: Mapping[str, Any]
    pictures: bool = False

    def as_pictures(self, run: AttackRun, model: Classifier) -> AdversarialSet:
        """Bring the images to 8-bit levels within the ball, and look which still fool the model.

        Pixels go to their nearest levels; where the image would leave the ball, towards the clean
        one as far as it must. An image that no longer fools the model stands, and is the
        clean one again. `metadata` tells how many were lost.
        """
        crafted, levels = self.crafted, self.clean.to(torch.float32)
        eps = run.eps[run.measured[-1]]
        ball = BALLS[run.parts[0].norm]
        radius = torch.inf if eps is None else limit(float(eps))
        images = crafted.images.cpu()
        moved = _rounded(images.mul(_LEVELS) - levels, ball, radius)
        logits = _shown((levels + moved) / _LEVELS, model)
        clean = levels / _LEVELS
        broken = crafted.fallen.cpu()
        still = broken & (logits.argmax(1) != self.labels) & logits.isfinite().all(1)
        still |= broken & (crafted.norm.cpu() == 0)  # wrong from the start
        kept = still.view(-1, 1, 1, 1)
        norm = ball.size(((levels + moved) / _LEVELS).double() - clean.double())
        told = replace(
            crafted,
            images=torch.where(kept, (levels + moved) / _LEVELS, clean),
            logits=torch.where(still[:, None], logits, _shown(clean, model)),
            fallen=still,
            norm=torch.where(still, norm, torch.nan),
            broken_by=tuple(
                name if stays else None
                for name, stays in zip(crafted.broken_by, still.tolist(), strict=True)
            ),
        )
        lost = int(broken.sum() - still.sum())
        metadata = {**self.metadata, "lost_by_rounding": lost}
        return replace(self, crafted=told, metadata=metadata, pictures=True)

    def arrays(self) -> dict[str, np.ndarray]:
        """What is written, but for `metadata`."""
        crafted = self.crafted
        codes = _codes(crafted)
        finite = crafted.logits.isfinite().all(1)
        images, clean = crafted.images.cpu(), self.clean.cpu()
        if self.pictures:
            images = images.mul(_LEVELS).round().to(torch.uint8).permute(0, 2, 3, 1)
            clean = clean.permute(0, 2, 3, 1)
        tensors = {
            "x": images,
            "clean": clean,
            "y": self.labels,
            "id": self.ids,
            "prediction": torch.where(finite, crafted.logits.argmax(1), -1),
            "fallen": crafted.fallen,
            "norm": crafted.norm,
            "broken_by": torch.tensor([codes[name] for name in crafted.broken_by]),
            "forward_evals": crafted.forward_evals,
            "gradient_evals": crafted.gradient_evals,
        }
        return {name: column.cpu().contiguous().numpy() for name, column in tensors.items()}

    def text(self) -> str:
        """The metadata as JSON."""
        crafted = self.crafted
        known = {
            "holdfast_version": VERSION,
            "condition": crafted.condition,
            "members": list(crafted.members),
            "broken_by": {str(code): name or "stands" for name, code in _codes(crafted).items()},
            "count": len(crafted),
            "fallen": int(crafted.fallen.sum()),
            "flags": sorted(crafted.flags),
            "axes": "NHWC" if self.pictures else "NCHW",
        }
        return json.dumps({**known, **self.metadata}, allow_nan=False)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the set, whole or not at all.

        Args:
            path: Ends in .npz or .safetensors, which decides the format.
            force: Whether a file that is there already is replaced.

        Raises:
            BadValueError: Another ending, or a file is there already.
            MissingError: The folder is not there.
            StoreError: The file cannot be written.
        """
        target = check_target(path, force=force)
        part = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            if target.suffix == ".npz":
                with part.open("wb") as file:
                    arrays: dict[str, Any] = {**self.arrays(), "metadata": np.array(self.text())}
                    np.savez(file, **arrays)
            else:
                written = {"metadata": self.text()}
                safetensors.numpy.save_file(self.arrays(), part, metadata=written)
            part.replace(target)
        except (OSError, safetensors.SafetensorError) as error:
            raise StoreError(
                f"cannot write {target}: {error}; nothing was kept of it. Give another place"
            ) from error
        finally:
            part.unlink(missing_ok=True)
        return target


def check_target(path: str | Path, *, force: bool = False) -> Path:
    """Refuse a file that could not be written; for before the work begins. Raises as `save`."""
    target = Path(path).absolute()
    if target.suffix not in SUFFIXES:
        raise BadValueError(f"expected a file ending in {' or '.join(SUFFIXES)}, got {path}")
    if not target.parent.is_dir():
        raise MissingError(f"no folder {target.parent} to write {target.name} into; make it first")
    if target.is_dir():
        raise BadValueError(f"{path} is a folder; expected the name of a file")
    if target.exists() and not force:
        raise BadValueError(f"{path} is there already; force replaces it (--force)")
    return target


def _rounded(deltas: Tensor, ball: Ball, radius: float) -> Tensor:
    """Whole numbers of levels near `deltas` [N, C, H, W], in units of levels, within the ball."""
    nearest = deltas.round()
    if ball.name == "linf":
        outside = (nearest.double() / _LEVELS).abs() > radius
        return torch.where(outside, deltas.trunc(), nearest)
    rows = (ball.size(nearest.double() / _LEVELS) > radius).nonzero()[:, 0]
    nearest[rows] = _filled(deltas[rows].double(), ball, radius * _LEVELS).to(nearest.dtype)
    return nearest


def _filled(deltas: Tensor, ball: Ball, radius: float) -> Tensor:
    """Levels below `deltas` [M, C, H, W], and above where the ball has room, most exact first."""
    sizes = deltas.abs().flatten(1)
    low = sizes.floor()
    parts = sizes - low
    costs, budget = torch.ones_like(low), torch.as_tensor(radius)
    spent = low.sum(1)
    if ball.name == "l2":
        costs, budget, spent = 2 * low + 1, budget.square(), low.square().sum(1)
    order = parts.argsort(dim=1, descending=True, stable=True)
    # Levels that are hit exactly come last and have nothing to round up.
    fits = costs.gather(1, order).cumsum(1) <= (budget - spent)[:, None]
    raised = torch.zeros_like(low).scatter(1, order, fits.to(low.dtype)) * (parts > 0)
    return (low + raised).view_as(deltas) * deltas.sign()


def _shown(images: Tensor, model: Classifier) -> Tensor:
    """Logits [N, K] of pictures, on the CPU."""
    device, show = place_of(model, images), Shown(model, images.shape)
    with evaluating(model), torch.no_grad():
        pieces = [show(piece.to(device)).cpu() for piece in torch.split(images, _READ)]
    return torch.cat(pieces)


def _codes(crafted: Crafted) -> dict[str | None, int]:
    """Numbers that stand for what broke a sample; None: it stands."""
    known: dict[str | None, int] = {"clean": -1, None: len(crafted.members)}
    return known | {name: place for place, name in enumerate(crafted.members)}
