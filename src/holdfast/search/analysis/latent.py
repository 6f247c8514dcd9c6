"""A latent space on paper."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from holdfast.core.errors import BadValueError

_PERPLEXITY = 30.0  # scikit-learn's default


def tsne(latents: ArrayLike, *, seed: int = 0, perplexity: float = _PERPLEXITY) -> np.ndarray:
    """Place points of a latent space [N, D] in the plane, float64 [N, 2].

    Source: van der Maaten and Hinton 2008, "Visualizing data using t-SNE", as scikit-learn has
    it. Few points get a perplexity of a third of their number at most.

    Raises:
        BadValueError: Not a table of four finite points or more.
    """
    from sklearn.manifold import TSNE  # noqa: PLC0415 - slow to import, and few need it

    points = np.asarray(latents, dtype=np.float64)
    if points.ndim != 2 or len(points) < 4 or not np.isfinite(points).all():
        raise BadValueError(f"expected four finite points or more [N, D], got {points.shape}")
    reached = min(perplexity, (len(points) - 1) / 3)
    placed = TSNE(n_components=2, perplexity=reached, init="pca", random_state=seed)
    return np.asarray(placed.fit_transform(points), dtype=np.float64)
