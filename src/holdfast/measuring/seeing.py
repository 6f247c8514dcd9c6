"""The measured model as perturbations see it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from holdfast.measuring.options import Options
from holdfast.measuring.sharding import replicate
from holdfast.models import Classifier, search_copy


class Seeing:
    """The classifier as perturbations see it; on halves where the memory does not hold a batch.

    Attributes:
        flags: `batch_halved`, and what the model that is searched says of itself.
    """

    def __init__(self, classifier: Classifier, options: Options) -> None:
        self.device = classifier.device
        self._classifier = classifier
        self._options = options
        self._see = options.view.see(classifier)
        self._most: int | None = None
        self.flags: set[str] = set()

    @cached_property
    def search(self) -> Callable[[Tensor], Tensor]:
        """What attacks differentiate: a faster twin of the classifier, or the model of `source`."""
        options = self._options
        searched = options.source or self._classifier
        if searched.device != self.device:  # the source, where several devices share the images
            searched = replicate(searched, str(self.device))
        twin = search_copy(
            searched,
            compile_net=options.compile_net,
            precision=options.precision,
        )
        self.flags |= twin.flags
        return options.view.see(twin)

    def __call__(self, images: Tensor) -> Tensor:
        while True:
            most = self._most or len(images)
            try:
                return torch.cat([self._see(piece) for piece in torch.split(images, most)])
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
                self._most = (most + 1) // 2
                self.flags.add("batch_halved")
                torch.cuda.empty_cache()
