"""Square attack: how its squares and windows look, and what they do to an image."""

from __future__ import annotations

import pytest
import torch
from attacks.crowd import Constant, Curved, images_of, task_for
from attacks.squares import (
    CPU,
    SMALL,
    at_queries,
    each_windowed,
    gray,
    search,
    told,
)

from holdfast.core.randomness import keys_for
from holdfast.perturb.attacks._squares import corners, level_of, sides_of_squares
from holdfast.perturb.attacks._windows import bumps
from holdfast.perturb.attacks.square import Square


@pytest.mark.parametrize(
    ("size", "odd", "sides"),
    [
        (32, False, (29, 20, 14, 10, 7, 5, 4, 3, 2, 1)),
        (224, False, (200, 142, 100, 71, 50, 35, 25, 18, 13, 9)),
        (32, True, (29, 21, 15, 11, 7, 5, 5, 3, 3, 3)),
        (4, False, (4, 3, 2, 1, 1, 1, 1, 1, 1, 1)),
        (2, True, (2,) * 10),
    ],
)
def test_sides_are_the_published_ones(size, odd, sides):
    assert sides_of_squares(0.8, size, size, odd=odd) == sides


def test_a_square_is_not_longer_than_the_shorter_side_of_the_image():
    assert sides_of_squares(0.8, 4, 100, odd=False)[0] == 4


def test_p_halves_after_the_published_numbers_of_squares():
    # Counted from 0, squares up to and including these have the level; query n + 1 asks for n.
    last = torch.tensor([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])

    assert level_of(last + 1).tolist() == list(range(1, 10))
    assert level_of(last + 2).tolist() == list(range(2, 11))


def test_only_the_start_proposes_no_square():
    assert level_of(torch.tensor([0, 1])).tolist() == [0, 1]


def test_corners_reach_all_places_inside_and_no_other():
    down = torch.linspace(0, 1 - 1e-9, 100, dtype=torch.float64)
    draws = torch.stack([down, torch.zeros_like(down)], 1)
    down = corners(draws, torch.tensor(3), 5, 9)
    across = corners(draws.flip(1), torch.tensor(3), 5, 9)

    assert down.unique().tolist() == [0, 9, 18]
    assert across.unique().tolist() == list(range(7))


@pytest.mark.parametrize(
    ("order", "half", "norm"), [(2, (0.25, 1.25), 3.25**0.5), (1, (1 / 16, 17 / 16), 36 / 16)]
)
def test_the_smallest_bump_by_hand(order, half, norm):
    lying = torch.tensor([[*half], [-half[0], -half[1]]]) / norm

    torch.testing.assert_close(
        bumps(2, order, CPU), torch.stack([lying.view(4), lying.T.reshape(4)])
    )


def test_the_halves_of_an_odd_bump_have_equal_norms():
    lying = bumps(7, 2, CPU)[0].view(7, 7)

    torch.testing.assert_close(lying[:3].norm(), lying[3:].norm())


def test_linf_starts_with_stripes_at_the_border_of_the_ball():
    state = Square(norm="linf", eps=0.01).start(task_for(gray(), Constant(3)))
    steps = (state.asked - 0.5) / 0.01

    assert torch.equal(steps, steps[:, :, :1].expand_as(steps))
    torch.testing.assert_close(steps.abs(), torch.ones_like(steps), rtol=1e-4, atol=0)
    assert steps[:, :, 0].unique(dim=0).shape[0] == 4


@each_windowed
def test_windows_start_at_the_border_of_the_ball(norm):
    attack = Square(norm=norm, eps=SMALL[norm])
    state = attack.start(task_for(gray((3, 13, 11)), Constant(3)))

    sizes = attack.ball.size(state.asked.double() - 0.5)
    torch.testing.assert_close(sizes, torch.full_like(sizes, SMALL[norm]), rtol=1e-4, atol=0)


def test_l2_starts_with_tiles_that_carry_equal_shares():
    state = Square(norm="l2", eps=0.05).start(task_for(gray((2, 13, 11), 2), Constant(3)))
    tiles = (state.asked - 0.5)[:, :, :12, :10]  # of 2 x 2; a row and a column are left over
    shares = tiles.square().view(2, 2, 6, 2, 5, 2).sum((3, 5))

    torch.testing.assert_close(shares, torch.full_like(shares, 0.05**2 / 60), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("query", "side"), [(1, 29), (11, 29), (12, 20), (400, 10), (4500, 3)])
def test_linf_changes_one_square_of_the_published_side(query, side):
    task = task_for(gray((1, 32, 32), 64), Constant(3))
    attack = Square(norm="linf", eps=0.01)
    state = at_queries(attack, task, torch.full((64,), query))
    changed = (attack.ask(state).images != state.best)[:, 0]

    # A stripe that has the sign already does not change, so the widest of 64 decides.
    assert changed.any(2).sum(1).max() == side
    assert changed.any(1).sum(1).max() <= side


def test_linf_squares_have_one_sign_a_channel():
    task = task_for(gray((3, 16, 16), 32), Constant(3))
    attack = Square(norm="linf", eps=0.01)
    state = at_queries(attack, task, torch.full((32,), 30))
    asked = attack.ask(state).images
    signs = torch.where(asked != state.best, (asked - 0.5).sign(), 0).flatten(2)

    assert not bool(((signs > 0).any(2) & (signs < 0).any(2)).any())
    assert bool(((signs > 0).any(2).any(1) & (signs < 0).any(2).any(1)).any())


def test_linf_goes_to_the_border_of_ball_and_box_alone():
    images = images_of((3, 8, 8), 16)
    asked, _ = search(Square(norm="linf", eps=0.1), Curved((3, 8, 8), 4), images, None, 40)
    low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)

    off = torch.minimum((asked - low).abs(), (asked - high).abs())
    assert off.max() < 1e-6


def test_nothing_is_left_of_a_large_square_that_was_not_kept():
    attack = Square(norm="linf", eps=0.01)
    state = at_queries(attack, task_for(gray((3, 32, 32), 8), Constant(3)), torch.full((8,), 201))
    attack.ask(state)
    state = told(attack, state, torch.zeros(8, 3))
    changed = (attack.ask(state).images != state.best).flatten(0, 1)

    assert changed.any(2).sum(1).max() <= 10


def test_l2_windows_take_what_the_box_has_left_over():
    images = gray((3, 12, 12))
    images[:, 0] = 1  # where half of the start is clipped
    attack = Square(norm="l2", eps=0.05)
    asked, _ = search(attack, Constant(3), images, None, 2)
    sizes = [attack.ball.size(turn - images) for turn in asked]

    assert (sizes[1] > 1.02 * sizes[0]).all()


def kinds(deltas, side):
    """Which bumps these are, [N, side * side]: 0, 1 of one sign and 2, 3 of the other."""
    known = torch.cat([bumps(side, 2, CPU), -bumps(side, 2, CPU)])
    likeness = deltas / deltas.norm(dim=1, keepdim=True) @ known.T

    torch.testing.assert_close(likeness.amax(1), torch.ones(len(deltas)), rtol=1e-4, atol=0)
    return likeness.argmax(1)


def test_l2_starts_with_bumps_of_both_signs_and_orientations():
    state = Square(norm="l2", eps=0.1).start(task_for(gray((1, 10, 10)), Constant(3)))
    tiles = (state.asked - 0.5).view(4, 5, 2, 5, 2).transpose(2, 3).reshape(100, 4)

    assert kinds(tiles, 2).unique().tolist() == [0, 1, 2, 3]


def test_an_l2_window_on_bare_ground_is_a_bump_of_either_sign_and_orientation():
    attack = Square(norm="l2", eps=0.05)
    state = at_queries(
        attack, task_for(gray((1, 32, 32), 64), Constant(3)), torch.full((64,), 4500)
    )
    state.best = state.images.clone()
    deltas = (attack.ask(state).images - 0.5).flatten(1)

    assert kinds(deltas[deltas != 0].view(64, 9), 3).unique().tolist() == [0, 1, 2, 3]


@each_windowed
def test_windows_change_no_more_than_two_squares(norm):
    # One channel and a full ball: then L1 projects nothing away. L1 is sparse, and many pairs of
    # its windows have nothing to give.
    task = task_for(gray((1, 32, 32), 32), Constant(3))
    attack = Square(norm=norm, eps=SMALL[norm])
    state = at_queries(attack, task, torch.full((32,), 4500))
    changed = (attack.ask(state).images - state.best).abs() > 1e-6

    assert 9 <= changed.flatten(1).sum(1).max() <= 18


@each_windowed
def test_windows_stay_at_the_border_of_the_ball(norm):
    attack = Square(norm=norm, eps=SMALL[norm])
    asked, _ = search(attack, Curved((3, 12, 12), 4), gray(), None, 60)

    sizes = attack.ball.size(asked.flatten(0, 1).double() - 0.5)
    torch.testing.assert_close(sizes, torch.full_like(sizes, SMALL[norm]), rtol=1e-4, atol=0)


def test_lanes_of_one_batch_draw_different_places():
    task = task_for(gray((1, 32, 32), 200), Constant(3))
    attack = Square(norm="linf", eps=0.01)
    state = at_queries(attack, task, torch.full((200,), 4500))
    attack.ask(state)

    assert state.corner.unique().numel() > 150


def test_places_and_signs_are_uniform():
    count = 20_000
    draws = keys_for(torch.arange(count), seed=0, stream="square").at(torch.ones(count)).uniform(4)
    places = corners(draws[:, :2], torch.full((count,), 30), 32, 32)
    counts = places.unique(return_counts=True)[1]

    # Nine places, each binomial with a deviation of 44.
    assert len(counts) == 9
    assert (counts - count / 9).abs().max() < 5 * 44
