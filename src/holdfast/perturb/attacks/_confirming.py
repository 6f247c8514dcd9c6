"""Candidates before the judge: shown together, and pushed outward where it refuses them.

The smallest image of a minimum-norm attack lies on the boundary of the searched model, and the
judge's boundary lies a little beyond or before it wherever the two differ, be it by the rounding
of half precision or by the last bits of another batch shape. What the judge refuses is therefore
not yet a sample that stands: it is moved away from its own image, along the same line, until the
judge agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.perturb.attacks._stages import Candidates
from holdfast.perturb.attacks.base import Attack
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.samples import is_adversarial, limit

# float32 needs the first, half precision mostly those up to a third. The large ones serve samples
# that the searched copy gets wrong almost where they are, so that its smallest image is hardly an
# image at all. Each costs a forward pass of a refused sample; an eps ends them early.
PUSHES = 1.001, 1.003, 1.01, 1.03, 1.1, 1.3, 2.0, 4.0, 8.0, 16.0, 32.0


@dataclass
class Judged:
    """Candidates and what the judge says of them.

    Attributes:
        entry: The candidates, [B].
        attack: That of their stage.
        images: As last shown, or as confirmed, [B, C, H, W].
        logits: By the judge, [B, K].
        sizes: Of the perturbations, float64 [B].
        holds: Whether the image is adversarial within ball and box, bool [B].
    """

    entry: Candidates
    attack: Attack
    images: Tensor
    logits: Tensor
    sizes: Tensor
    holds: Tensor

    @property
    def pushes(self) -> bool:
        """Whether the images lie on a boundary: found by a minimum-norm attack."""
        # Without a state it is an image that was kept, which only such attacks have.
        return self.attack.minimum_norm or self.entry.state is None

    def pushed(self, factor: float) -> tuple[Tensor, Tensor]:
        """Rows that were refused and have room within eps, int64 [M], and their pushed images."""
        rows = (~self.holds).nonzero()[:, 0]
        own = self.entry.samples.images[rows]
        images = (self.entry.images[rows] - own).mul_(factor).add_(own).clamp_(0, 1)
        if self.attack.eps is not None:
            sizes = self.attack.ball.size(images.double() - own.double())
            room = sizes <= limit(self.attack.eps)
            rows, images = rows[room], images[room]
        return rows, images

    def take(self, rows: Tensor, images: Tensor, logits: Tensor, finite: Tensor) -> None:
        """Note what the judge says of images [M, C, H, W] of some rows [M]."""
        samples = self.entry.samples
        samples.forward[rows, -1] += 1
        sizes = self.attack.ball.size(images.double() - samples.images[rows].double())
        eps = self.attack.eps
        inside = sizes <= (torch.inf if eps is None else limit(eps))
        lowest, highest = images.flatten(1).aminmax(dim=1)
        wrong = is_adversarial(logits, samples.labels[rows], samples.targets[rows])
        self.holds[rows] = finite & inside & (lowest >= 0) & (highest <= 1) & wrong
        self.images[rows], self.logits[rows], self.sizes[rows] = images, logits, sizes


def confirm(
    entries: Sequence[tuple[Candidates, Attack]], judge: Evaluator, *, push: bool
) -> list[Judged]:
    """Show all candidates to the judge; push outward those of minimum-norm attacks it refuses.

    A refused image is shown again at `PUSHES` times its distance from the own image, clamped to
    the box, as long as it stays within eps where there is one; every look is counted. Neither
    the published attacks nor other libraries need this: they search and judge by one model.

    Args:
        entries: Candidates, each with the attack of its stage.
        judge: The model that confirms; float32.
        push: Whether to push; images crafted on another model are shown as they are.
    """
    logits, finite = judge.logits(torch.cat([entry.images for entry, _ in entries]))
    judged: list[Judged] = []
    start = 0
    for entry, attack in entries:
        part = slice(start, start + len(entry))
        start = part.stop
        sizes = torch.zeros_like(entry.samples.norm)
        shown = entry.images.clone()
        one = Judged(entry, attack, shown, logits[part].clone(), sizes, finite[part].clone())
        rows = torch.arange(len(entry), device=logits.device)
        one.take(rows, entry.images, logits[part], finite[part])
        judged.append(one)
    for factor in PUSHES if push else ():
        _push(judged, judge, factor)
    return judged


def _push(judged: Sequence[Judged], judge: Evaluator, factor: float) -> None:
    """Show what is refused once more, `factor` times as far from the own images."""
    refused = [one for one in judged if one.pushes and not bool(one.holds.all())]
    tries = [(one, *one.pushed(factor)) for one in refused]
    if not sum(len(rows) for _, rows, _ in tries):
        return
    logits, finite = judge.logits(torch.cat([images for _, _, images in tries]))
    start = 0
    for one, rows, images in tries:
        part = slice(start, start + len(rows))
        start = part.stop
        one.take(rows, images, logits[part], finite[part])
