"""TE-NAS: prune a supernet by two measures of untrained networks; no architecture is asked about.

The torch part is imported when a search begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.spaces.base import Space
from holdfast.search.spaces.nb201 import NB201
from holdfast.search.trials import Trial


@SEARCHERS.register("te_nas")
@dataclass
class TeNas:
    """Prune a supernet of all operations until one an edge is left; scores are never looked at.

    Each round is one pruning with weights of its own, so further rounds go on with other draws.
    Where all of a round's cells were proposed before, those follow that keep, on some edges, the
    operation which the last step of pruning took away, and random ones after these.

    Source: Chen, Gong and Wang 2021, "Neural Architecture Search on ImageNet in Four GPU Hours",
    with the settings of its code for NAS-Bench-201 (3 channels, 1 cell a stage, 3 repeats,
    precision 3) but for smaller batches (theirs: 72 images, 3,000 crops). See
    `holdfast.search.proxies.pruning` for what differs.

    Attributes:
        data: What is looked at: `noise`, or a data set's training images.
        images: Of the data, drawn anew each round.
        proposals: Architectures a round.
        repeats: Draws of the weights a comparison is averaged over.
        batch: Images of the tangent kernel, of those.
        crops: Of those images, of which linear regions are counted.
        channels: Of the supernet's first stage.
        precision: Decimals of relative changes that are compared.
    """

    about: ClassVar[str] = "supernet pruned by tangent kernel and linear regions (TE-NAS, 2021)"
    data: str = "noise"
    images: int = 256
    proposals: int = 1
    repeats: int = 3
    batch: int = 32
    crops: int = 1000
    channels: int = 3
    precision: int = 3

    def __post_init__(self) -> None:
        for name in ("proposals", "repeats", "batch", "crops", "channels", "precision"):
            if getattr(self, name) < 1:
                raise BadValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.images < self.batch:
            raise BadValueError(
                f"a batch of {self.batch} needs as many images, got images={self.images}"
            )

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """Prune once; see `Searcher`.

        Raises:
            BadValueError: A space of which there is no supernet.
        """
        if not isinstance(space, NB201):
            raise BadValueError(f"te_nas has a supernet of nb201 only, got {space.spec}")
        seen = {space.key(trial.arch) for trial in history}
        fresh: dict[str, str] = {}
        for arch in self._pruned(space, int(rng.integers(2**62))):
            key = space.key(arch)
            if key not in seen:
                fresh.setdefault(key, key if space.unique else arch)
        found = list(fresh.values())[: self.proposals]
        return found or unseen(space, history, rng, self.proposals)

    def _pruned(self, space: NB201, seed: int) -> list[str]:
        """Cells of one pruning, best first."""
        import torch  # noqa: PLC0415 - takes a second, and only this searcher needs it

        from holdfast.search.proxies import pruning  # noqa: PLC0415 - likewise

        generator = torch.Generator().manual_seed(seed)
        how = pruning.Measure(
            images=pruning.images_for(self.data, self.images, generator),
            repeats=self.repeats,
            batch=self.batch,
            crops=self.crops,
            channels=self.channels,
            precision=self.precision,
        )
        cells = pruning.prune(space.choices, how, generator)
        return [space.text(tuple(cell)) for cell in cells]
