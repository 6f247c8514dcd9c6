"""What the judge refuses is pushed outward; what was kept for it is the best there is."""

import pytest
import torch
from torch import nn

from holdfast.perturb.attacks._confirming import PUSHES, Judged
from holdfast.perturb.attacks._stages import Candidates
from holdfast.perturb.attacks.ddn import DDN
from holdfast.perturb.attacks.engine import Engine, Setting
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.fab import FAB
from holdfast.perturb.attacks.fmn import FMN
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.samples import fresh_samples, limit
from holdfast.perturb.base import Batch

COUNT, START = 6, 0.3
LABELS = torch.zeros(COUNT, dtype=torch.int64)
IDS = torch.arange(COUNT)
# Along the first pixel; no two alike.
IMAGES = torch.full((COUNT, 1, 2, 2), 0.5)
IMAGES[:, 0, 0, 0] = START - 0.01 * torch.arange(COUNT)


class Wall(nn.Module):
    """Class 1 from where the first pixel reaches `at`; sizes of perturbations are differences."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, images):
        height = 10 * (images[:, 0, 0, 0] - self.at)
        return torch.stack([torch.zeros_like(height), height], 1)


class Sharp(nn.Module):
    """Class 1 in a window of the first pixel alone, whatever the gradient says."""

    def __init__(self, low, high):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, images):
        first = images[:, 0, 0, 0]
        inside = (first >= self.low) & (first < self.high)
        height = torch.where(inside, 1.0, -1.0)
        return torch.stack([torch.zeros_like(first), height], 1)


def run(attacks, search, judge, **setting):
    """Verdict columns by id: stage, norm, image, forward passes; and the flags."""
    setting = Setting(**{"slots": 4, "seed": 0, **setting})
    engine = Engine(attacks, Evaluator(search, 4), Evaluator(judge, 4), setting)
    found = {}
    for verdict in engine.run([Batch(IMAGES, LABELS, IDS)]):
        for row, id_ in enumerate(verdict.samples.ids.tolist()):
            forward = verdict.samples.forward[row].tolist()
            stage, norm = int(verdict.stage[row]), float(verdict.norm[row])
            found[id_] = stage, norm, verdict.images[row], forward
    return found, engine.flags


FREE = [DDN(steps=30), FMN(norm="l2", steps=30), FAB(norm="l2", steps=10)]


@pytest.mark.parametrize("attack", FREE, ids=lambda a: a.name)
@pytest.mark.parametrize("farther", [0.0005, 0.02])
def test_a_judge_a_little_farther_off_confirms_what_is_pushed_to_it(attack, farther):
    found, flags = run([attack], Wall(0.5), Wall(0.5 + farther))

    assert {0} == {row[0] for row in found.values()}
    assert set() == flags


def test_the_norm_is_that_of_the_pushed_image():
    found, _ = run([DDN(steps=30)], Wall(0.5), Wall(0.52))

    for id_, (_, norm, image, _) in found.items():
        assert (image - IMAGES[id_]).double().norm() == pytest.approx(norm, rel=1e-6)
        assert 0.52 <= float(image[0, 0, 0])


def test_the_push_goes_no_farther_than_a_step_beyond_the_judge():
    found, _ = run([DDN(steps=60)], Wall(0.5), Wall(0.52))

    for id_, (_, norm, _, _) in found.items():
        needed = 0.52 - float(IMAGES[id_, 0, 0, 0])
        assert needed <= norm + 1e-6 <= 1.2 * needed


def test_every_look_of_the_judge_is_counted():
    plain, _ = run([DDN(steps=30)], Wall(0.5), Wall(0.5))
    pushed, _ = run([DDN(steps=30)], Wall(0.5), Wall(2.0))

    assert {2} == {row[3][-1] for row in plain.values()}
    assert {2 + len(PUSHES)} == {row[3][-1] for row in pushed.values()}


def test_what_no_push_confirms_stands_and_is_flagged():
    found, flags = run([DDN(steps=30)], Wall(0.5), Wall(2.0))

    assert {1} == {row[0] for row in found.values()}
    assert {"unconfirmed"} == flags


@pytest.mark.parametrize(("eps", "stands"), [(0.25, 0), (0.21, 1)])
def test_a_push_stays_within_eps(eps, stands):
    # Own distances to the search's wall are 0.20 to 0.25; the judge's is 0.02 farther.
    found, _ = run([DDN(steps=30, eps=eps)], Wall(0.5), Wall(0.52))

    assert stands == found[0][0]
    assert all(row[1] <= limit(eps) for row in found.values() if row[0] == 0)


def test_a_push_within_eps_breaks_what_the_boundary_itself_did_not():
    found, flags = run([DDN(steps=60, eps=0.4)], Wall(0.5), Wall(0.52))

    assert {0} == {row[0] for row in found.values()}
    assert set() == flags


def test_an_image_that_stays_inside_a_ball_anyway_is_not_pushed():
    found, flags = run([PGD(norm="l2", eps=0.21, steps=4)], Wall(0.45), Wall(2.0))

    assert {"unconfirmed"} == flags
    # One look a step at most, and the clean one.
    assert max(row[3][-1] for row in found.values()) <= 1 + 5


def test_what_is_transferred_is_not_pushed():
    found, flags = run([DDN(steps=30)], Wall(0.5), Wall(0.7), transfer=True)

    assert {2} == {row[3][-1] for row in found.values()}
    assert set() == flags


# What a transfer shows


@pytest.mark.parametrize("attack", FREE, ids=lambda a: a.name)
def test_a_minimum_transfers_as_it_was_found(attack):
    direct, _ = run([attack], Wall(0.5), Wall(0.5))
    shown, _ = run([attack], Wall(0.5), Wall(0.5), transfer=True)

    assert {id_: row[1] for id_, row in direct.items()} == {i: r[1] for i, r in shown.items()}


def test_an_image_that_the_walk_left_again_is_what_transfers():
    # Steps of 0.1 pass through the window and leave it on its other side.
    model = Both(Sharp(0.39, 0.41))
    images = run([PGD(eps=0.4, steps=4, step_size=0.1, random_start=False)], model, model)[0]
    shown, _ = run(
        [PGD(eps=0.4, steps=4, step_size=0.1, random_start=False)], model, model, transfer=True
    )

    assert 0 == images[0][0]
    assert 0 == shown[0][0]


class Both(nn.Module):
    """The window's verdict, with the gradient of a wall."""

    def __init__(self, window):
        super().__init__()
        self.window, self.wall = window, Wall(5.0)

    def forward(self, images):
        slope = self.wall(images)
        return self.window(images) + slope - slope.detach()


def test_where_nothing_was_found_the_last_image_transfers():
    found, _ = run([PGD(eps=0.1, steps=4)], Wall(0.9), Wall(0.38), transfer=True)

    # The source is never wrong within eps, but the walk went the right way.
    assert 0 == found[0][0]


def test_an_image_beyond_eps_on_the_source_is_not_what_transfers():
    found, _ = run([DDN(eps=0.1, steps=30)], Wall(0.5), Wall(0.5), transfer=True)

    assert {1} == {row[0] for row in found.values()}


# Joined minimum-norm attacks


def test_joined_minima_are_the_smallest_of_all():
    rough, fine = FMN(norm="l2", steps=3, probes=0), DDN(steps=60)
    alone, _ = run([fine], Wall(0.5), Wall(0.5))
    joined, _ = run([rough, fine], Wall(0.5), Wall(0.5))

    assert all(joined[id_][1] <= alone[id_][1] for id_ in joined)


def test_the_member_that_found_the_smallest_is_credited():
    rough, fine = DDN(steps=2), DDN(steps=60)

    for attacks, finest in (([rough, fine], 1), ([fine, rough], 0)):
        found, _ = run(attacks, Wall(0.5), Wall(0.5))
        assert {finest} == {row[0] for row in found.values()}


def test_each_joined_member_gets_its_whole_budget():
    found, _ = run([DDN(steps=4), DDN(steps=7)], Wall(0.5), Wall(0.5))

    assert {(5, 8, 2)} == {tuple(row[3]) for row in found.values()}


class Elsewhere(nn.Module):
    """Wrong on the own images, and on nothing else."""

    def forward(self, images):
        own = (images[:, None] == IMAGES).flatten(2).all(2).any(1)
        return torch.stack([torch.zeros(len(images)), own.float() - 0.5 + 0 * images.sum()], 1)


def test_a_copy_that_is_wrong_on_the_own_images_alone_is_flagged():
    found, flags = run([FAB(norm="l2", steps=3)], Elsewhere(), Wall(0.9))

    assert {1} == {row[0] for row in found.values()}
    assert {"unconfirmed"} == flags - {"zero_gradients"}


def test_a_push_stays_in_the_box():
    own = torch.full((2, 1, 1, 2), 0.5)
    found = own + torch.tensor([[0.5, 0.1], [-0.5, 0.1]]).view(2, 1, 1, 2)
    zeros = torch.zeros(2, dtype=torch.int64)
    samples = fresh_samples(
        Batch(own, zeros, zeros), zeros - 1, torch.zeros(2, 2), stages=1, keep_found=False
    )
    entry = Candidates(0, samples, found, None)
    refused = torch.zeros(2, dtype=torch.bool)
    judged = Judged(entry, FAB(), found, torch.zeros(2, 2), zeros.double(), refused)
    rows, images = judged.pushed(3.0)

    assert [0, 1] == rows.tolist()
    torch.testing.assert_close(torch.tensor([[1.0, 0.8], [0.0, 0.8]]), images.view(2, 2))
