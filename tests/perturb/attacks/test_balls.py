"""Laws of the balls: sizes by hand, projections as mathematics."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks import balls
from holdfast.perturb.attacks.balls import BALLS, per_lane

NORMS = ("linf", "l2", "l1")
RADII = {"linf": (1 / 255, 0.0101, 8 / 255, 0.3), "l2": (0.05, 0.5, 3.0), "l1": (1.0, 12.0, 60.0)}
CASES = [(norm, eps) for norm in NORMS for eps in RADII[norm]]
SHAPE = (3, 12, 12)

all_norms = pytest.mark.parametrize("norm", NORMS)
all_cases = pytest.mark.parametrize(("norm", "eps"), CASES)


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pairs(*shape, dtype=torch.float32):
    """Images (plain, 8 bit, half black and white, of one color) and points of many kinds."""
    plain = random(4, *shape, dtype=dtype)
    kinds = [plain, (plain * 255).round() / 255, (plain * 3 - 1).clamp(0, 1), plain * 0 + 0.7]
    noise = normal(4, *shape, dtype=dtype)
    moves = [noise * 0.02, noise * 0.3, noise * 0 + 0.1, noise * 1e4, (noise > 2.5) * 12.0]
    images = torch.cat([kind for kind in kinds for _ in moves])
    return images, images + torch.cat([move for _ in kinds for move in moves])


def norms(deltas, norm):
    """Sizes by torch's idea of them, float64 [L]."""
    order = {"linf": math.inf, "l2": 2, "l1": 1}[norm]
    return torch.linalg.vector_norm(deltas.double().flatten(1), ord=order, dim=1)


def exact_confined(image, point, eps, norm):
    """The projection of one float64 row [D] by bisection on its multiplier."""
    delta = point - image

    def at(multiplier):
        if norm == "l2":
            shrunk = delta / (1 + multiplier)
        else:
            shrunk = delta.sign() * (delta.abs() - multiplier).clamp(min=0)
        return (image + shrunk).clamp(0, 1)

    if norm == "linf":
        return (image + delta.clamp(-eps, eps)).clamp(0, 1)
    if norms((at(0) - image)[None], norm) <= eps:
        return at(0)
    low, high = 0.0, 1e9
    for _ in range(120):
        middle = (low + high) / 2
        outside = norms((at(middle) - image)[None], norm) > eps
        low, high = (middle, high) if outside else (low, middle)
    return at(high)


@pytest.mark.parametrize(
    ("norm", "size", "dual"), [("linf", 4.0, 7.0), ("l2", 5.0, 5.0), ("l1", 7.0, 4.0)]
)
def test_sizes_by_hand(norm, size, dual):
    deltas = torch.tensor([[[3.0, -4.0]]])

    assert [size] == BALLS[norm].size(deltas).tolist()
    assert [dual] == BALLS[norm].dual_size(deltas).tolist()


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("linf", [1.0, -1.0]), ("l2", [0.6, -0.8]), ("l1", [0.0, -1.0])],
)
def test_projections_by_hand(norm, expected):
    deltas = torch.tensor([[3.0, -4.0]], dtype=torch.float64)

    assert expected == pytest.approx(BALLS[norm].project(deltas, 1.0)[0].tolist(), abs=1e-12)


@pytest.mark.parametrize(
    ("norm", "eps", "expected"),
    [
        ("linf", 0.3, [0.8, 1.0, 0.2]),
        # s (1, 1, -1) with the second stopped by 0.1 of room: 2 s^2 + 0.01 = 0.09.
        ("l2", 0.3, [0.7, 1.0, 0.3]),
        # A threshold of 0.9 leaves 0.1 of each, and each has room for it.
        ("l1", 0.3, [0.6, 1.0, 0.4]),
        # The second is stopped at 0.1; the others share the rest.
        ("l1", 0.5, [0.7, 1.0, 0.3]),
    ],
)
def test_confinement_by_hand(norm, eps, expected):
    images = torch.tensor([[0.5, 0.9, 0.5]], dtype=torch.float64)
    points = images + torch.tensor([[1.0, 1.0, -1.0]], dtype=torch.float64)

    assert expected == pytest.approx(BALLS[norm].confine(images, points, eps)[0].tolist())


@all_cases
def test_a_projection_lands_on_the_sphere(norm, eps):
    deltas = normal(6, *SHAPE, dtype=torch.float64)

    sizes = norms(BALLS[norm].project(deltas, eps), norm)

    assert [eps] * 6 == pytest.approx(sizes.tolist(), rel=1e-9)


@all_cases
def test_a_projection_keeps_what_is_inside(norm, eps):
    deltas = normal(6, *SHAPE)
    deltas *= per_lane(0.99 * eps / norms(deltas, norm), deltas).float()

    assert torch.equal(deltas, BALLS[norm].project(deltas, eps))


@all_norms
def test_a_projection_is_nearest(norm):
    # No point of a convex set lies beyond the plane through the nearest one.
    deltas = normal(4, 6, dtype=torch.float64) * 2
    nearest = BALLS[norm].project(deltas, 1.0)
    others = normal(500, 6, seed=1, dtype=torch.float64)
    others = others / norms(others, norm)[:, None]

    beyond = torch.einsum("ld,lod->lo", deltas - nearest, others[None] - nearest[:, None])

    assert beyond.max() <= 1e-12


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@all_norms
def test_a_projection_in_float32_stays_within_a_millionth(norm, scale):
    deltas = normal(20, *SHAPE) * scale

    sizes = norms(BALLS[norm].project(deltas, 0.5), norm)

    assert sizes.max() <= 0.5 * (1 + 1e-6)


def test_a_radius_that_is_no_float32_is_rounded_down():
    # The float32 next to 0.1 is above it.
    assert BALLS["linf"].project(torch.ones(1, 2), 0.1).double().max() <= 0.1


@all_cases
def test_confined_points_are_inside_and_in_the_box(norm, eps):
    images, points = pairs(*SHAPE)

    confined = BALLS[norm].confine(images, points, eps)

    assert norms(confined.double() - images.double(), norm).max() <= eps * (1 + 1e-6)
    assert confined.min() >= 0 and confined.max() <= 1


@all_norms
@given(exponent=st.floats(-9, 1.6), level=st.floats(0, 1), reach=st.floats(-3, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pixels_that_all_round_alike_do_not_leave_the_ball(norm, exponent, level, reach):
    eps = 10**exponent
    images = torch.full((1, 1000), level)
    points = images + reach

    confined = BALLS[norm].confine(images, points, eps)

    assert norms(confined.double() - images.double(), norm) <= eps * (1 + 1e-6)
    assert confined.min() >= 0 and confined.max() <= 1


@pytest.mark.parametrize("eps", [2e-8, 5e-8, 1.1e-7, 0.0041, 0.0101, 0.0296, 0.0311, 0.1])
def test_linf_rounds_towards_the_image(eps):
    images = torch.linspace(0, 1, 5001)[None]

    for reach in (-1, 1):
        confined = BALLS["linf"].confine(images, images + reach, eps)
        moved = (confined.double() - images.double()) * reach

        assert 0 <= moved.min() and moved.max() <= eps * (1 + 1e-6)
        # By one spacing of pixels, not by more.
        inner = (images < 1 - eps) & (images > eps)
        assert moved[inner].min() >= eps - 2.0**-24


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_points_far_away_come_to_the_sphere(norm):
    images = random(4, *SHAPE)
    points = images + 1e4 * normal(4, *SHAPE)

    sizes = norms(BALLS[norm].confine(images, points, 0.5) - images, norm)

    assert [0.5] * 4 == pytest.approx(sizes.tolist(), rel=1e-4)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_few_newton_steps_suffice(norm, monkeypatch):
    images = random(20, *SHAPE)
    points = images + 0.3 * normal(20, *SHAPE)
    expected = BALLS[norm].confine(images, points, 0.5), BALLS[norm].project(points, 0.5)

    monkeypatch.setattr(balls, "_NEWTON_STEPS", 12)

    assert torch.equal(expected[0], BALLS[norm].confine(images, points, 0.5))
    assert torch.equal(expected[1], BALLS[norm].project(points, 0.5))


@all_cases
def test_confinement_agrees_with_bisection(norm, eps):
    images, points = pairs(30, dtype=torch.float64)

    expected = [
        exact_confined(image.flatten(), point.flatten(), eps, norm)
        for image, point in zip(images, points, strict=True)
    ]

    difference = BALLS[norm].confine(images, points, eps).flatten(1) - torch.stack(expected)
    # The bisection itself, of a multiplier up to 1e6, is good to 1e-10.
    assert difference.abs().max() <= 1e-9


@all_cases
def test_confinement_in_float32_is_exact_to_the_rounding_of_pixels(norm, eps):
    images, points = pairs(*SHAPE)

    expected = BALLS[norm].confine(images.double(), points.double(), eps)

    difference = BALLS[norm].confine(images, points, eps) - expected
    # Two spacings of pixels near 1, and as much of a point that is 12 (or 1e4) away.
    room = 1.2e-7 + 2e-7 * (points - images).abs().flatten(1).amax(1)
    assert (difference.abs().flatten(1).amax(1) <= room).all()


@all_cases
def test_confinement_keeps_what_is_inside(norm, eps):
    images = random(6, *SHAPE) * 0.8 + 0.1
    deltas = normal(6, *SHAPE)
    points = images + deltas * per_lane(0.99 * eps / norms(deltas, norm), deltas).float()
    points = torch.where((points >= 0) & (points <= 1), points, images)

    assert torch.equal(points, BALLS[norm].confine(images, points, eps))


@all_cases
def test_confinement_goes_to_the_box_alone_where_that_is_inside(norm, eps):
    images = torch.tensor([[1.0, 0.0, 0.5, 0.5]])
    points = images + torch.tensor([[5.0, -7.0, 0.5 * eps, 0.0]])

    assert torch.equal(points.clamp(0, 1), BALLS[norm].confine(images, points, eps))


@all_cases
def test_confinement_twice_is_confinement_once(norm, eps):
    images, points = pairs(*SHAPE)
    once = BALLS[norm].confine(images, points, eps)

    assert torch.equal(once, BALLS[norm].confine(images, once, eps))


@all_norms
def test_a_ball_of_radius_zero_is_the_image(norm):
    images, points = pairs(*SHAPE)

    assert torch.equal(images, BALLS[norm].confine(images, points, 0.0))


@all_cases
def test_a_radius_a_lane_is_each_lane_alone(norm, eps):
    images, points = pairs(3, 5)
    radii = torch.linspace(0, 2 * eps, len(images), dtype=torch.float64)
    ball = BALLS[norm]

    confined = ball.confine(images, points, radii)
    projected = ball.project(points - images, radii)

    for row, radius in enumerate(radii.tolist()):
        lane = slice(row, row + 1)
        assert torch.equal(confined[lane], ball.confine(images[lane], points[lane], radius))
        assert torch.equal(projected[lane], ball.project((points - images)[lane], radius))


@all_cases
def test_neighbors_and_place_change_no_bit(norm, eps):
    images, points = pairs(3, 7, 7)
    ball = BALLS[norm]

    def everything(rows):
        deltas = points[rows] - images[rows]
        parts = [ball.confine(images[rows], points[rows], eps), ball.project(deltas, eps)]
        return [*parts, ball.steepest(deltas), ball.size(deltas), ball.dual_size(deltas)]

    whole = everything(torch.arange(len(images)))
    shuffled = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))

    for rows in (shuffled, shuffled[:7], *(shuffled[i : i + 1] for i in range(20))):
        for expected, actual in zip(whole, everything(rows), strict=True):
            assert torch.equal(expected[rows], actual)


@all_norms
def test_a_lone_long_row_has_the_size_that_it_has_in_company(norm):
    # torch divides the sum of one row among threads, those of several rows it does not.
    threads = torch.get_num_threads()
    deltas = normal(3, 200_001)
    torch.set_num_threads(2)
    try:
        expected = BALLS[norm].size(deltas)
        actual = torch.cat([BALLS[norm].size(delta[None]) for delta in deltas])
    finally:
        torch.set_num_threads(threads)

    assert torch.equal(expected, actual)


@all_norms
def test_inputs_stay_as_they_are(norm):
    images, points = pairs(*SHAPE)
    before = images.clone(), points.clone()
    ball = BALLS[norm]

    for result in (
        ball.confine(images, points, 0.5),
        ball.project(points, 0.5),
        ball.project(points, 1e9),
        ball.confine(images, images, 0.5),
        ball.steepest(points),
    ):
        result.add_(1)
    ball.size(points), ball.dual_size(points)

    assert torch.equal(before[0], images) and torch.equal(before[1], points)


@all_norms
def test_memory_layout_changes_nothing(norm):
    images, points = pairs(*SHAPE)
    ball = BALLS[norm]
    laid = [tensor.to(memory_format=torch.channels_last) for tensor in (images, points)]

    assert torch.equal(ball.confine(images, points, 0.5), ball.confine(*laid, 0.5))
    assert torch.equal(ball.steepest(points), ball.steepest(laid[1]))


@all_norms
def test_no_lanes_give_no_lanes(norm):
    none = torch.empty(0, *SHAPE)
    ball = BALLS[norm]

    assert ball.confine(none, none, 0.5).shape == none.shape
    assert ball.project(none, torch.empty(0)).shape == none.shape
    assert ball.steepest(none).shape == none.shape
    assert ball.sample(keys_for(torch.empty(0, dtype=torch.int64), seed=0, stream="s"), SHAPE).shape
    assert ball.size(none).shape == (0,)


def test_balls_are_known_by_their_names():
    assert {norm: norm for norm in NORMS} == {name: ball.name for name, ball in BALLS.items()}
