"""Several small networks that differ in their draws: their spread says what is not known.

All members are trained at once: each layer is one stacked matrix product. The networks are so
small (20 wide) that the gradient written out runs several times faster than an automatic one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

_FIRST, _SECOND, _TINY = 0.9, 0.99, 1e-7  # Adam, as in White et al.'s code
Views = tuple[list[np.ndarray], list[np.ndarray]]
_FLUSH = 1e-30  # a moment below it moves nothing, and arithmetic on such numbers is very slow


@dataclass(frozen=True)
class Training:
    """Settings of the members and of their training (White et al. 2021, appendix).

    Attributes:
        layers: Hidden layers with ReLU.
        width: Neurons of each.
        rate: Learning rate of Adam.
        epochs: Passes over the data.
        batch: Rows a step.
    """

    layers: int = 10
    width: int = 20
    rate: float = 0.01
    epochs: int = 150
    batch: int = 32


class Ensemble:
    """Fully connected networks with one output each, members stacked along the first axis.

    Weights are drawn by Glorot's uniform rule, biases are 0. `parameters` is one vector, of which
    `weights` (float32 [M, in, out]) and `biases` (float32 [M, 1, out]) are views.
    """

    def __init__(
        self, members: int, inputs: int, training: Training, rng: np.random.Generator
    ) -> None:
        self.members, self.training = members, training
        sizes = [inputs, *[training.width] * training.layers, 1]
        self.shapes = list(itertools.pairwise(sizes))
        total = members * sum((before + 1) * after for before, after in self.shapes)
        self.parameters = np.zeros(total, dtype=np.float32)
        self.weights, self.biases = self.views(self.parameters)
        for weight, (before, after) in zip(self.weights, self.shapes, strict=True):
            bound = np.sqrt(6.0 / (before + after))
            weight[:] = rng.uniform(-bound, bound, weight.shape)

    def views(self, flat: np.ndarray) -> Views:
        """Weights and biases as views of a vector as long as the parameters."""
        weights: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        at = 0
        for before, after in self.shapes:
            for kept, rows in ((weights, before), (biases, 1)):
                size = self.members * rows * after
                kept.append(flat[at : at + size].reshape(self.members, rows, after))
                at += size
        return weights, biases

    def activations(self, x: np.ndarray) -> list[np.ndarray]:
        """Input and output of every layer, from x float32 [M, B, D] to [M, B, 1]."""
        values = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = values[-1] @ weight
            hidden += bias
            values.append(np.maximum(hidden, 0, out=hidden))
        return [*values, values[-1] @ self.weights[-1] + self.biases[-1]]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What each member says of each row of x [N, D], float32 [M, N]."""
        rows = np.broadcast_to(x.astype(np.float32), (self.members, *x.shape))
        return self.activations(rows)[-1][..., 0]

    def gradient(self, x: np.ndarray, y: np.ndarray, into: Views) -> None:
        """Write the gradient of every member's mean absolute error.

        Args:
            x: Rows of each member, float32 [M, B, D].
            y: Their targets, float32 [M, B].
            into: Views of a vector as long as `parameters`.
        """
        values = self.activations(x)
        weights, biases = into
        back = np.sign(values[-1] - y[..., None]) / np.float32(x.shape[1])
        for layer in reversed(range(len(self.shapes))):
            np.matmul(values[layer].transpose(0, 2, 1), back, out=weights[layer])
            np.sum(back, axis=1, keepdims=True, out=biases[layer])
            if layer:
                back = back @ self.weights[layer].transpose(0, 2, 1)
                back *= values[layer] > 0

    def fit(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Ensemble:
        """Train with Adam on the mean absolute error; each member shuffles for itself.

        Args:
            x: Float [N, D].
            y: Float [N].
            rng: Draws the order of the rows.
        """
        rows, wanted = x.astype(np.float32), y.astype(np.float32)
        adam = _Adam(self.parameters, self.training.rate)
        slopes = self.views(adam.gradient)
        order = np.tile(np.arange(len(rows)), (self.members, 1))
        for _ in range(self.training.epochs):
            order = rng.permuted(order, axis=1)
            for start in range(0, len(rows), self.training.batch):
                here = order[:, start : start + self.training.batch]
                self.gradient(rows[here], wanted[here], slopes)
                adam.step()
            adam.flush()
        return self


class _Adam:
    """Adam on one vector, in place (Kingma and Ba 2015)."""

    def __init__(self, parameters: np.ndarray, rate: float) -> None:
        self.parameters, self.rate, self.steps = parameters, rate, 0
        self.gradient, self.first, self.second = (np.zeros_like(parameters) for _ in range(3))
        self._room = np.empty_like(parameters)

    def step(self) -> None:
        self.steps += 1
        self.first += np.multiply(
            np.subtract(self.gradient, self.first, out=self._room), 1 - _FIRST, out=self._room
        )
        np.multiply(self.gradient, self.gradient, out=self._room)
        self._room -= self.second
        self._room *= 1 - _SECOND
        self.second += self._room
        np.sqrt(self.second, out=self._room)
        self._room += _TINY
        np.divide(self.first, self._room, out=self._room)
        unbiased = np.sqrt(1 - _SECOND**self.steps) / (1 - _FIRST**self.steps)
        self._room *= self.rate * unbiased
        self.parameters -= self._room

    def flush(self) -> None:
        """Set moments to 0 that are too small to matter."""
        self.first[np.abs(self.first) < _FLUSH] = 0
        self.second[self.second < _FLUSH] = 0
