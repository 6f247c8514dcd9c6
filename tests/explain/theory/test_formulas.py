"""Ideal kernels, resampling, pooling and normalization: closed forms, tables and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch.nn import functional as F

from holdfast.core.errors import BadTypeError, BadValueError, UnknownNameError
from holdfast.core.randomness import keys_for
from holdfast.explain.theory import kernels, pooling, preprocessing, resampling
from holdfast.explain.theory.kernels import ideal, noise_gain, response, simulated_gain

# |z| of a simulation with a fixed seed: one in 16,000 if it were drawn anew.
FAR = 4.0


def z_of(values, expected):
    return (values.mean() - expected) / (values.std(ddof=1) / math.sqrt(len(values)))


def noise(count, *shape, stream):
    return keys_for(torch.arange(count), seed=3, stream=stream).normal(*shape).double()


@pytest.mark.parametrize("kind", kernels.TAPS)
@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 14])
def test_kernels_are_symmetric_and_keep_a_constant(kind, width):
    kernel = ideal(kind, width)

    assert kernel.shape == (width, width)
    assert math.isclose(kernel.sum(), 1)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    assert (kernel > 0).all()


@pytest.mark.parametrize("kind", kernels.TAPS)
@pytest.mark.parametrize("width", [3, 5, 7])
def test_the_gain_is_what_filtering_does_to_noise(kind, width):
    kernel = ideal(kind, width)
    fields = noise(60, 64, 64, stream=f"{kind} {width}").numpy()
    filtered = np.stack([ndimage.correlate(one, kernel)[8:-8, 8:-8] for one in fields])

    assert abs(z_of((filtered**2).mean((1, 2)), noise_gain(kernel))) < FAR


def test_gains_of_the_table():
    assert all(math.isclose(noise_gain(ideal("box", k)), k**-2) for k in range(1, 40))
    for taps, expected in {3: 0.1406, 4: 0.0977, 5: 0.0748, 7: 0.0509}.items():
        assert expected == round(noise_gain(ideal("binomial", taps)), 4)
    for width in (5, 7, 9, 15, 31):
        assert 2.89 == pytest.approx(width**2 * noise_gain(ideal("gaussian", width)), abs=0.01)


def test_where_the_law_holds_and_where_it_fails():
    def fall(kind):  # exponent of k between 15 and 31
        narrow, wide = noise_gain(ideal(kind, 15)), noise_gain(ideal(kind, 31))
        return math.log(wide / narrow) / math.log(31 / 15)

    assert -2 == pytest.approx(fall("box"))
    assert -2 == pytest.approx(fall("gaussian"), abs=0.01)
    assert -1 == pytest.approx(fall("binomial"), abs=0.06)
    for kind in kernels.TAPS:
        assert noise_gain(ideal(kind, 31)) == pytest.approx(kernels.law(kind, 31), rel=0.02)
    narrow = noise_gain(kernels.separable(kernels.gaussian_taps(41, 2.5)))
    assert narrow == pytest.approx(1 / (4 * math.pi * 2.5**2), rel=1e-6)


def test_binomial_gain_is_the_central_coefficient():
    for width in (2, 3, 8):
        n = width - 1
        assert math.isclose(noise_gain(ideal("binomial", width)), (math.comb(2 * n, n) / 4**n) ** 2)


def test_response_agrees_with_the_fourier_transform_and_parseval():
    kernel = np.random.default_rng(0).normal(size=(5, 4))
    found = response(kernel, 17)
    judge = np.abs(np.fft.fftshift(np.fft.fft2(kernel, (16, 16))))

    assert np.allclose(found[:-1, :-1], judge)
    assert math.isclose((found[:-1, :-1] ** 2).mean(), noise_gain(kernel))
    assert math.isclose(found[8, 8], abs(kernel.sum()))
    box = response(ideal("box", 3), 33)[16]
    f = np.linspace(-0.5, 0.5, 33)
    assert np.allclose(box, abs(1 + 2 * np.cos(2 * np.pi * f)) / 3)
    assert response(kernel, 1).shape == (1, 1)


def test_simulations_cover_what_is_exact():
    rows = [*kernels.kernel_table(draws=1500), *resampling.resampling_table(draws=800)]
    rows = [row for row in rows if row.name != "triangle, factor 3"]
    inside = [row.simulated.low <= row.exact <= row.simulated.high for row in rows]

    assert len(rows) > 40
    # 95 % intervals: fewer than one in eight may miss (binomial, p below 0.002).
    assert stats.binomtest(inside.count(False), len(rows), 0.05, "greater").pvalue > 0.002
    assert simulated_gain(ideal("box", 3)) == simulated_gain(ideal("box", 3))
    assert simulated_gain(ideal("box", 3)) != simulated_gain(ideal("box", 3), seed=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ideal("box", 0),
        lambda: kernels.gaussian_taps(3, 0.0),
        lambda: kernels.separable(np.ones((2, 2))),
        lambda: response(np.ones(3)),
        lambda: response(np.ones((3, 3)), 4),
        lambda: resampling.resampling_gain("box", 8, 2),
        lambda: pooling.max_moments(0),
        lambda: preprocessing.pixel_factor((0.2, 0.0)),
    ],
)
def test_values_that_make_no_sense(call):
    with pytest.raises(BadValueError):
        call()


def test_names_that_are_not_known():
    for call in (lambda: ideal("boxx", 3), lambda: kernels.law("boxx", 3)):
        with pytest.raises(UnknownNameError, match="did you mean box"):
            call()
    with pytest.raises(UnknownNameError, match="did you mean bicubic"):
        resampling.resampling_weights("bicubik", 8, 4)
    with pytest.raises(UnknownNameError):
        resampling.limit("bilinea")
    with pytest.raises(BadTypeError):
        pooling.pool_of(2.5)


# Resampling


def test_gains_of_resampling_of_the_table():
    found = {
        kind: [round(s**2 * resampling.resampling_gain(kind, 32 * s, 32), 3) for s in (2, 4, 8)]
        for kind in resampling.RESAMPLINGS
    }

    assert [1.0, 1.0, 1.0] == found["box"]
    assert [0.391, 0.431, 0.441] == found["triangle"]
    assert [0.654, 0.663, 0.663] == found["bicubic"]
    assert [4, 16, 64] == found["nearest"]  # 1, whatever the factor
    sigma = math.sqrt(resampling.resampling_gain("triangle", 448, 224))
    assert 0.313 == pytest.approx(sigma, abs=6e-4)


@pytest.mark.parametrize("kind", resampling.RESAMPLINGS)
def test_the_law_is_the_limit_of_the_exact_gain(kind):
    assert resampling.resampling_gain(kind, 16 * 25, 25) == pytest.approx(
        resampling.law(kind, 16), rel=0.01
    )
    rows = resampling.resampling_weights(kind, 36, 8)
    assert np.allclose(rows.sum(1), 1, atol=1e-6)


def test_the_gain_is_what_resizing_does_to_noise():
    fields = noise(60, 1, 90, 120, stream="resize").float()
    for mode, kind in (("bilinear", "triangle"), ("bicubic", "bicubic"), ("nearest", "nearest")):
        smooth = {} if mode == "nearest" else {"antialias": True}
        small = F.interpolate(fields, (36, 40), mode=mode, **smooth)[:, 0, 6:-6, 6:-6]
        squares = (small.double() ** 2).mean((1, 2)).numpy()
        assert abs(z_of(squares, resampling.resampling_gain(kind, (90, 120), (36, 40)))) < FAR
    for how, kind in ((Image.Resampling.BOX, "box"), (Image.Resampling.LANCZOS, "lanczos")):
        pictures = [Image.fromarray(one.numpy()).resize((40, 36), how) for one in fields[:, 0]]
        small = np.stack([np.asarray(one)[6:-6, 6:-6] for one in pictures])
        squares = (small.astype(float) ** 2).mean((1, 2))
        assert abs(z_of(squares, resampling.resampling_gain(kind, (90, 120), (36, 40)))) < FAR


def test_pillow_and_torch_resize_alike():
    ours = resampling.resampling_weights("bicubic", 40, 12)
    impulse = np.zeros((2, 40), np.float32)
    impulse[:, 17] = 1
    pillow = Image.fromarray(impulse).resize((12, 2), Image.Resampling.BICUBIC)

    assert np.allclose(np.asarray(pillow)[0], ours[:, 17], atol=1e-6)


# Pooling

PUBLISHED = {
    2: (1.0294, 0.4917, 1.5513, 1.6651, 0.2500),
    3: (1.4850, 0.3574, 2.5626, 2.0963, 0.1111),
    4: (1.7660, 0.2950, 3.4137, 2.3548, 0.0625),
    5: (1.9653, 0.2585, 4.1210, 2.5373, 0.0400),
    7: (2.2412, 0.2168, 5.2397, 2.7899, 0.0204),
    14: (2.7393, 0.1613, 7.6653, 3.2490, 0.0051),
}


def test_pooling_to_the_digits_of_the_table():
    rows = pooling.pooling_table()

    assert PUBLISHED == {
        row.size: tuple(
            round(value, 4)
            for value in (
                row.max_bias,
                row.max_variance,
                row.max_error,
                row.max_bound,
                row.mean_error,
            )
        )
        for row in rows
    }
    for row in rows:
        assert (0, row.mean_error, 1 / row.size, 1) == (
            row.mean_bias,
            row.mean_variance,
            row.mean_worst,
            row.max_worst,
        )


def test_moments_of_the_maximum_in_closed_form():
    # Of two and of three normals: 1 / sqrt(pi) and 3 / (2 sqrt(pi)).
    mean, variance = pooling.max_moments(2)
    assert (mean, variance) == pytest.approx((1 / math.sqrt(math.pi), 1 - 1 / math.pi), abs=1e-10)
    assert pooling.max_moments(3)[0] == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-10)
    assert pooling.max_moments(1) == pytest.approx((0, 1), abs=1e-10)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_pooling_of_real_noise(size):
    windows = noise(20000, size**2, stream=f"pool {size}").view(-1, 1, size, size)
    highest = F.max_pool2d(windows, size).flatten().numpy()
    mean = F.avg_pool2d(windows, size).flatten().numpy()
    row = pooling.pool_of(size)

    assert abs(z_of(highest, row.max_bias)) < FAR
    assert abs(z_of(highest**2, row.max_error)) < FAR
    assert abs(z_of(mean**2, row.mean_error)) < FAR
    assert abs(z_of((highest - row.max_bias) ** 2, row.max_variance)) < FAR
    assert row.max_bias < row.max_bound


@pytest.mark.parametrize("size", [2, 3])
def test_worst_cases_are_reached_and_not_passed(size):
    row = pooling.pool_of(size)
    start = noise(400, 1, 4 * size, 4 * size, stream="start")
    moved = noise(400, 1, 4 * size, 4 * size, stream="moved")
    for pool, factor in ((F.max_pool2d, row.max_worst), (F.avg_pool2d, row.mean_worst)):
        changes = (pool(start + moved, size) - pool(start, size)).flatten(1).norm(dim=1)
        assert bool((changes <= factor * moved.flatten(1).norm(dim=1) + 1e-9).all())
    highest = (start == F.interpolate(F.max_pool2d(start, size), scale_factor=size)).double()
    for pool, move, factor in (
        (F.max_pool2d, highest, row.max_worst),
        (F.avg_pool2d, torch.ones_like(start), row.mean_worst),
    ):
        changes = (pool(start + move, size) - pool(start, size)).flatten(1).norm(dim=1)
        assert torch.allclose(changes, factor * move.flatten(1).norm(dim=1))


# Normalization


def test_factors_of_the_usual_conventions():
    found = {row.name: row for row in preprocessing.preprocessing_table()}

    assert 1.91 == round(found["CLIP"].against_inception, 2)
    assert [1.861, 1.9135, 1.813] == pytest.approx(
        [0.5 / value for value in found["CLIP"].std], abs=5e-4
    )
    assert 2.23 == round(found["ImageNet"].against_inception, 2)
    assert 1 == found["Inception"].against_inception
    factors = [row.factor for row in preprocessing.preprocessing_table()]
    assert sorted(factors) == factors
    assert 1 == preprocessing.pixel_factor(())


def test_the_factor_is_the_lipschitz_constant_of_normalization():
    std = torch.tensor([0.3, 0.2, 0.25]).view(3, 1, 1)
    moves = noise(200, 3, 4, 4, stream="lipschitz")
    stretched = (moves / std).flatten(1).norm(dim=1) / moves.flatten(1).norm(dim=1)
    least = torch.zeros(3, 4, 4)
    least[1, 0, 0] = 1

    factor = preprocessing.pixel_factor((0.3, 0.2, 0.25))
    assert float(stretched.max()) < factor
    assert float((least / std).norm()) == pytest.approx(factor)
