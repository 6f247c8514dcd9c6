"""Steps by Hoelder's inequality, samples by their volume."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks.balls import BALLS

SHAPE = (3, 12, 12)
ORDERS = {"linf": math.inf, "l2": 2, "l1": 1}

all_norms = pytest.mark.parametrize("norm", ORDERS)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def norms(deltas, norm):
    """Sizes by torch's idea of them, float64 [L]."""
    return torch.linalg.vector_norm(deltas.double().flatten(1), ord=ORDERS[norm], dim=1)


@all_norms
def test_a_steepest_step_attains_the_dual_norm(norm):
    gradients = normal(8, *SHAPE, dtype=torch.float64)
    ball = BALLS[norm]

    steps = ball.steepest(gradients)

    assert [1.0] * 8 == pytest.approx(norms(steps, norm).tolist(), rel=1e-12)
    gained = (steps * gradients).flatten(1).sum(1)
    assert ball.dual_size(gradients).tolist() == pytest.approx(gained.tolist(), rel=1e-12)


@all_norms
def test_a_dual_norm_is_the_most_that_a_unit_step_gains(norm):
    gradients = normal(3, 5, dtype=torch.float64)
    others = normal(2000, 5, seed=1, dtype=torch.float64)
    others = others / norms(others, norm)[:, None]

    assert ((gradients @ others.T).amax(1) <= BALLS[norm].dual_size(gradients)).all()


@all_norms
def test_a_zero_gradient_gives_no_step(norm):
    gradients = torch.zeros(2, *SHAPE)

    assert torch.equal(gradients, BALLS[norm].steepest(gradients))


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e25])
@all_norms
def test_tiny_and_huge_gradients_give_unit_steps(norm, scale):
    gradients = normal(3, *SHAPE) * scale

    sizes = norms(BALLS[norm].steepest(gradients), norm)

    assert [1.0] * 3 == pytest.approx(sizes.tolist(), rel=1e-6)


def test_the_dual_of_l2_does_not_underflow():
    gradients = torch.tensor([[3e-30, 4e-30]])

    assert [5e-30] == pytest.approx(BALLS["l2"].dual_size(gradients).tolist())


def test_the_l1_step_takes_the_first_of_equals():
    gradients = torch.tensor([[1.0, -2.0, 2.0, 0.0], [0.0, 3.0, 3.0, 3.0]])

    expected = torch.tensor([[0.0, -1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])

    assert torch.equal(expected, BALLS["l1"].steepest(gradients))


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 2, 2)])
@all_norms
def test_samples_fill_the_ball_evenly(norm, shape):
    keys = keys_for(torch.arange(4000), seed=5, stream="ball")
    samples = BALLS[norm].sample(keys, shape)

    # The share of the volume within radius r is r^d.
    shares = norms(samples, norm) ** math.prod(shape)

    assert shares.max() <= 1 + 1e-6
    assert stats.kstest(shares.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("norm", "share"),
    [("linf", 0.5), ("l2", (math.pi / 6 + math.sqrt(0.1875)) * 2 / math.pi), ("l1", 0.75)],
)
def test_samples_have_no_preferred_direction(norm, share):
    keys = keys_for(torch.arange(20_000), seed=6, stream="ball")
    samples = BALLS[norm].sample(keys, (2,))

    middle = (samples.abs() < 0.5).double().mean(0)

    # Areas of the strip |x| < 1/2 over those of the ball; five standard errors.
    assert [share] * 2 == pytest.approx(middle.tolist(), abs=5 * 0.5 / math.sqrt(20_000))
    signs = torch.stack([samples.sign().mean(0), (samples[:, :1] * samples).sign().mean(0)])
    assert signs.flatten()[[0, 1, 3]].abs().max() < 5 / math.sqrt(20_000)


@all_norms
def test_samples_belong_to_their_keys(norm):
    keys = keys_for(torch.arange(9), seed=7, stream="ball")
    rows = torch.tensor([4, 0, 8])

    samples = BALLS[norm].sample(keys, (3, 5, 5))

    assert samples.dtype == torch.float32
    assert torch.equal(samples[rows], BALLS[norm].sample(keys.take(rows), (3, 5, 5)))
    assert not torch.equal(samples, BALLS[norm].sample(keys.stream("again"), (3, 5, 5)))
