"""A Gaussian process over encoded architectures, and how much better a candidate may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg, spatial, special

Kernel = Literal["matern", "hamming"]
LENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
NOISES = (1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)


def kernel_matrix(a: np.ndarray, b: np.ndarray, kernel: Kernel, length: float) -> np.ndarray:
    """Covariance of functions at rows of a [N, D] and b [M, D], with variance 1: [N, M].

    Args:
        a: Encodings.
        b: Encodings.
        kernel: `matern`: smoothness 5/2 over the Euclidean distance (Rasmussen and Williams 2006,
            eq. 4.17). `hamming`: exp(-h / length) where h is half the sum of absolute
            differences: over one-hot encodings the number of operations that differ.
        length: Distance over which functions change, > 0.
    """
    if kernel == "hamming":
        return np.exp(spatial.distance.cdist(a, b, "cityblock") / (-2 * length))
    scaled = spatial.distance.cdist(a, b) * (np.sqrt(5) / length)
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


@dataclass(frozen=True)
class GaussianProcess:
    """Posterior over a function with the mean of the data as prior mean.

    Attributes:
        x: Encodings of the data, float64 [N, D].
        kernel: See `kernel_matrix`.
        length: Its length.
        variance: Prior variance of the function.
        noise: Variance of the noise, as a share of `variance`.
        mean: Prior mean.
        factor: Lower Cholesky factor of K + noise I, [N, N].
        weights: (K + noise I)^-1 (y - mean), [N].
    """

    x: np.ndarray
    kernel: Kernel
    length: float
    variance: float
    noise: float
    mean: float
    factor: np.ndarray
    weights: np.ndarray

    def posterior(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [M] and covariance [M, M] of the function, without noise, at rows of `at` [M, D].

        Rasmussen and Williams 2006, eqs. 2.23 and 2.24.
        """
        across = kernel_matrix(self.x, at, self.kernel, self.length)
        half = linalg.solve_triangular(self.factor, across, lower=True)
        prior = kernel_matrix(at, at, self.kernel, self.length)
        return self.mean + across.T @ self.weights, self.variance * (prior - half.T @ half)


def fit(x: np.ndarray, y: np.ndarray, kernel: Kernel = "matern") -> GaussianProcess:
    """Gaussian process with the length and noise, of `LENGTHS` and `NOISES`, that fit best.

    Best is the largest marginal likelihood (Rasmussen and Williams 2006, eq. 5.8), in which the
    variance takes its best value, y^T (K + noise I)^-1 y / N; one eigendecomposition a length
    serves all noises.

    Args:
        x: Encodings, [N, D].
        y: Values, [N].
        kernel: See `kernel_matrix`.
    """
    data = np.asarray(x, dtype=np.float64)
    centred = np.asarray(y, dtype=np.float64) - np.mean(y)
    best = (-np.inf, LENGTHS[0], NOISES[0])
    for length in LENGTHS:
        spectrum, basis = linalg.eigh(kernel_matrix(data, data, kernel, length))
        seen = (basis.T @ centred) ** 2
        for noise in NOISES:
            likelihood = _likelihood(np.maximum(spectrum, 0) + noise, seen)
            best = max(best, (likelihood, length, noise))
    return condition(data, np.asarray(y, dtype=np.float64), kernel, best[1], best[2])


def _likelihood(spectrum: np.ndarray, seen: np.ndarray) -> float:
    """Log marginal likelihood at the best variance, up to what is equal for all."""
    variance = max(float((seen / spectrum).mean()), np.finfo(float).tiny)
    return float(-0.5 * (len(spectrum) * np.log(variance) + np.log(spectrum).sum()))


def condition(
    x: np.ndarray, y: np.ndarray, kernel: Kernel, length: float, noise: float
) -> GaussianProcess:
    """Posterior for a given length and noise; the variance takes its most likely value."""
    mean = float(y.mean())
    covariance = kernel_matrix(x, x, kernel, length) + noise * np.eye(len(x))
    factor = linalg.cholesky(covariance, lower=True)
    weights = linalg.cho_solve((factor, True), y - mean)
    variance = float((y - mean) @ weights) / len(y)
    return GaussianProcess(x, kernel, length, variance, noise, mean, factor, weights)


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """How far a normal variable exceeds `best` on average, [N]; larger is better.

    Jones, Schonlau and Welch 1998, eq. 15.

    Args:
        mean: Of each candidate, [N].
        deviation: Of each candidate, >= 0, [N].
        best: Largest value so far.
    """
    gain = mean - best
    safe = np.where(deviation > 0, deviation, 1.0)
    ratio = gain / safe
    density = np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi)
    smooth = gain * special.ndtr(ratio) + deviation * density
    return np.where(deviation > 0, smooth, np.maximum(gain, 0))


def greedy_batch(gp: GaussianProcess, at: np.ndarray, best: float, count: int) -> list[int]:
    """Candidates of the largest expected improvement, one after the other.

    After each, the process takes its mean there for the answer (the "kriging believer" of
    Ginsbourger et al. 2010): means stay, and what is known of its neighbours grows.

    Args:
        gp: What is known.
        at: Encodings of the candidates, [M, D].
        best: Largest value so far.
        count: How many to pick; fewer where there are fewer candidates.

    Returns:
        Places in `at`, in the order of picking.
    """
    mean, covariance = gp.posterior(np.asarray(at, dtype=np.float64))
    left = np.ones(len(mean), dtype=bool)
    picked: list[int] = []
    for _ in range(min(count, len(mean))):
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
        gain = np.where(left, expected_improvement(mean, deviation, best), -np.inf)
        # Where no candidate can improve, the least hopeless one is asked.
        place = int(np.lexsort((mean, gain))[-1])
        picked.append(place)
        left[place] = False
        best = max(best, float(mean[place]))
        column = covariance[:, place]
        scale = column[place] + gp.noise * gp.variance
        covariance = covariance - np.outer(column, column) / max(scale, np.finfo(float).tiny)
    return picked
