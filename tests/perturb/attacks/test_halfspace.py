"""Projections onto hyperplanes in the box, against linear programs, bisection and optimality."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.halfspace import NEAREST, Normals

ROUNDING = 1e-6  # relative, of the gap
each_norm = pytest.mark.parametrize("norm", NEAREST)


def problem(rows=12, count=75, part=0.4, seed=0) -> tuple[Tensor, Tensor, Tensor]:
    """Normals, points, gaps; a row wants up to `part` of what the box allows, either sign."""
    numbers = torch.Generator().manual_seed(seed)
    normals = torch.randn(rows, count, generator=numbers) ** 3
    normals[:, ::7] = 0
    points = (torch.rand(rows, count, generator=numbers) * 1.4 - 0.2).clamp(0, 1)
    signs = torch.tensor([1.0, -1.0]).repeat(rows)[:rows]
    parts = part * torch.linspace(0.02, 1, rows)
    return normals, points, signs * parts * allowed(normals, points, signs)


def allowed(normals, points, signs):
    """How far the box lets the inner product rise (sign 1) or fall (sign -1)."""
    up = torch.where(normals * signs[:, None] > 0, 1 - points, points)
    return (normals.abs().double() * up).sum(1).float()


def project(norm, normals, points, gaps):
    return NEAREST[norm](Normals(normals), points, gaps)


def gained(normals, deltas):
    return (normals.double() * deltas).sum(1)


def bounds_of(points):
    return [(-float(pixel), 1 - float(pixel)) for pixel in points]


def smallest_linf(normal, point, gap):
    """Minimum t with |d_i| <= t, as a linear program in (d, t)."""
    count = len(normal)
    eye, ones = torch.eye(count), torch.ones(count, 1)
    limits = torch.cat([torch.cat([eye, -ones], 1), torch.cat([-eye, -ones], 1)])
    found = linprog(
        [0.0] * count + [1.0],
        A_ub=limits.numpy(),
        b_ub=[0.0] * 2 * count,
        A_eq=[[*normal.tolist(), 0.0]],
        b_eq=[float(gap)],
        bounds=[*bounds_of(point), (0, None)],
    )
    return found.fun


def smallest_l1(normal, point, gap):
    """Minimum of sum(up + down) with d = up - down, as a linear program."""
    count = len(normal)
    up = [(0.0, 1 - float(pixel)) for pixel in point]
    down = [(0.0, float(pixel)) for pixel in point]
    found = linprog(
        [1.0] * 2 * count,
        A_eq=[normal.tolist() + (-normal).tolist()],
        b_eq=[float(gap)],
        bounds=up + down,
    )
    return found.fun


def smallest_l2(normal, point, gap):
    """By bisection on the multiplier, float64."""
    normal, point = normal.double(), point.double()
    low, high = -1e6, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        delta = (point + middle * normal).clamp(0, 1) - point
        if float((normal * delta).sum()) < float(gap):
            low = middle
        else:
            high = middle
    return float(delta.norm())


SMALLEST = {"linf": smallest_linf, "l2": smallest_l2, "l1": smallest_l1}


@each_norm
@pytest.mark.parametrize("part", [0.1, 0.95])
def test_no_smaller_perturbation_reaches_the_plane(norm, part):
    normals, points, gaps = problem(rows=8, count=15, part=part)

    sizes = BALLS[norm].size(project(norm, normals, points, gaps).deltas.double())

    for row, size in enumerate(sizes.tolist()):
        expected = SMALLEST[norm](normals[row], points[row], gaps[row])
        assert size == pytest.approx(expected, rel=2 * ROUNDING)


@each_norm
@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_the_plane_is_reached(norm, part):
    normals, points, gaps = problem(count=3072, part=part)

    deltas = project(norm, normals, points, gaps).deltas

    torch.testing.assert_close(gained(normals, deltas), gaps.double(), rtol=ROUNDING, atol=0)


@each_norm
@pytest.mark.parametrize("decades", [3, 12])
def test_the_plane_is_reached_when_weights_differ_by_decades(norm, decades):
    """Rooms of 1e-7 over the weight: every decade of weights gains as much as the others."""
    weights = torch.logspace(0, -decades, 300)[None].repeat(4, 1)
    points = (1e-7 / weights).clamp_(max=1)
    gaps = -torch.tensor([1e-3, 0.3, 0.9, 0.99]) * allowed(weights, points, torch.tensor([-1.0]))

    deltas = project(norm, weights, points, gaps).deltas

    torch.testing.assert_close(gained(weights, deltas), gaps.double(), rtol=ROUNDING, atol=0)


@each_norm
def test_the_moved_points_are_in_the_box(norm):
    normals, points, gaps = problem(part=1.5)

    moved = points.double() + project(norm, normals, points, gaps).deltas

    assert moved.min() >= -1e-7 and moved.max() <= 1 + 1e-7


@each_norm
def test_the_size_is_the_norm_of_the_perturbation(norm):
    normals, points, gaps = problem(part=1.2)

    move = project(norm, normals, points, gaps)

    torch.testing.assert_close(move.sizes, BALLS[norm].size(move.deltas))


@each_norm
def test_every_coordinate_moves_towards_the_plane_or_not_at_all(norm):
    normals, points, gaps = problem(part=1.2)

    deltas = project(norm, normals, points, gaps).deltas

    assert (deltas * normals * gaps[:, None] >= 0).all()


@each_norm
def test_coordinates_without_weight_stay(norm):
    normals, points, gaps = problem(part=1.2)

    deltas = project(norm, normals, points, gaps).deltas

    assert (deltas[normals == 0] == 0).all()


@each_norm
def test_a_plane_out_of_reach_is_approached_up_to_the_sides_of_the_box(norm):
    normals, points, _ = problem()
    gaps = torch.tensor([1e3, -1e3]).repeat(6)

    deltas = project(norm, normals, points, gaps).deltas

    towards = normals * gaps[:, None]
    side = torch.where(towards > 0, 1.0, torch.where(towards < 0, 0.0, points))
    torch.testing.assert_close(points + deltas, side)


@each_norm
def test_a_point_on_the_plane_stays(norm):
    normals, points, _ = problem()

    move = project(norm, normals, points, torch.zeros(len(points)))

    assert move.deltas.abs().max() == 0 and move.sizes.abs().max() == 0


@each_norm
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_a_normal_that_is_zero_or_not_finite_moves_nothing(norm, value):
    normals, points, gaps = problem()
    normals[3] = value

    move = project(norm, normals, points, gaps)

    assert move.deltas[3].abs().max() == 0 and move.sizes[3] == 0
    assert (move.sizes[:3] > 0).all()


@each_norm
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_scale_of_normal_and_gap_does_not_matter(norm, scale):
    normals, points, gaps = problem()

    expected = project(norm, normals, points, gaps)
    scaled = project(norm, normals * scale, points, gaps * scale)

    torch.testing.assert_close(scaled.sizes, expected.sizes, rtol=1e-5, atol=0)


@each_norm
def test_the_mirrored_problem_has_the_mirrored_answer(norm):
    normals, points, gaps = problem()

    move = project(norm, normals, points, gaps)
    mirrored = project(norm, -normals, 1 - points, gaps)

    torch.testing.assert_close(mirrored.deltas, -move.deltas, rtol=0, atol=1e-5)


def test_linf_moves_by_the_gap_over_the_l1_norm_where_no_side_is_near():
    normals = torch.tensor([[1.0, -3.0, 0.0, 4.0]])

    move = project("linf", normals, torch.full((1, 4), 0.5), torch.tensor([-0.8]))

    torch.testing.assert_close(move.deltas, torch.tensor([[-0.1, 0.1, 0.0, -0.1]]))


def test_l2_moves_along_the_normal_where_no_side_is_near():
    normals = torch.tensor([[3.0, -4.0]])

    move = project("l2", normals, torch.full((1, 2), 0.5), torch.tensor([2.5]))

    torch.testing.assert_close(move.deltas, torch.tensor([[0.3, -0.4]]))


def test_l1_takes_the_largest_weight_first():
    normals = torch.tensor([[2.0, -5.0, 3.0]])
    points = torch.tensor([[0.5, 0.2, 0.5]])

    move = project("l1", normals, points, torch.tensor([1.3]))

    torch.testing.assert_close(move.deltas, torch.tensor([[0.0, -0.2, 0.1]]))


def test_l1_needs_no_more_where_weights_are_equal():
    move = project("l1", torch.ones(1, 5), torch.full((1, 5), 0.8), torch.tensor([0.5]))

    torch.testing.assert_close(move.sizes, torch.tensor([0.5]))


def test_l1_moves_a_coordinate_only_after_all_larger_weights():
    normals, points, gaps = problem()

    deltas = project("l1", normals, points, gaps).deltas

    for row in range(len(gaps)):
        moved = deltas[row] != 0
        room_left = torch.where(
            normals[row] * gaps[row] > 0,
            points[row] + deltas[row] < 1 - 1e-6,
            points[row] + deltas[row] > 1e-6,
        )
        rest = room_left & ~moved & (normals[row] != 0)
        assert normals[row][moved].abs().min() >= normals[row][rest].abs().max()


def uneven_problem():
    """Rows that need few steps and rows that need many; every fifth has weights all but equal."""
    normals, points, gaps = problem(rows=60, count=203, part=1.1)
    normals[::5] = 1 + torch.linspace(0, 2e-6, 203)
    normals[3] = torch.logspace(0, -12, 203)
    return normals, points, gaps


@each_norm
def test_a_row_has_the_same_bits_alone_as_among_others(norm):
    normals, points, gaps = uneven_problem()

    together = project(norm, normals, points, gaps).deltas

    for row in range(60):
        only = slice(row, row + 1)
        alone = project(norm, normals[only], points[only], gaps[only]).deltas
        assert torch.equal(together[only], alone)


@each_norm
def test_a_row_has_the_same_bits_wherever_it_stands(norm):
    normals, points, gaps = uneven_problem()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(5))
    expected = project(norm, normals, points, gaps).deltas[order]

    shuffled = project(norm, normals[order], points[order], gaps[order]).deltas

    assert torch.equal(expected, shuffled)


@each_norm
def test_the_input_is_left_as_it_was(norm):
    given = problem(part=1.1)
    before = [tensor.clone() for tensor in given]

    project(norm, *given)

    assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
