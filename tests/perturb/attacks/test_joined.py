"""Attacks that are joined: their draws, their repeats, and what they may aim at."""

import pytest
import torch
from torch import nn

import holdfast
from helpers import Textured, pictures
from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks._stages import streams
from holdfast.perturb.attacks.apgd import APGD
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.ddn import DDN
from holdfast.perturb.attacks.engine import Engine, Setting
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.attacks.square import Square
from holdfast.perturb.base import Batch

COUNT = 6
MODEL = Textured()
IMAGES = torch.from_numpy(pictures(COUNT)).permute(0, 3, 1, 2).float() / 255
with torch.no_grad():
    LABELS = MODEL(IMAGES).argmax(1)
IDS = torch.arange(COUNT)
TINY = {"eps": 1e-6}  # nothing falls


def outcome_of(run, model=MODEL):
    """Columns of the outcome by name, in the order of ids; all end together."""
    told = [part for part in run.run([Batch(IMAGES, LABELS, IDS)], model, 0) if len(part.ids)]
    ids = torch.cat([part.ids for part in told])
    names = told[0].extra
    return {name: torch.cat([p.extra[name] for p in told])[ids.argsort()] for name in names}


class Seen(nn.Module):
    """Keeps what it is asked; one row at a time with one slot."""

    def __init__(self):
        super().__init__()
        self.images = []

    def forward(self, images):
        self.images.append(images.detach().clone())
        return MODEL(images)


def starts(attacks):
    """The first image of each stage, of one sample."""
    seen = Seen()
    engine = Engine(attacks, Evaluator(seen, 1), Evaluator(MODEL, 1), Setting(1, 0))
    list(engine.run([Batch(IMAGES[:1], LABELS[:1], IDS[:1])]))
    each = len(seen.images) // len(attacks)
    return seen.images[::each]


def test_an_attack_joined_to_itself_starts_elsewhere():
    first, second = starts([PGD(**TINY, steps=2)] * 2)

    assert not torch.equal(first, second)


def test_the_first_of_two_alike_starts_where_it_does_alone():
    (alone,) = starts([PGD(**TINY, steps=2)])

    assert torch.equal(alone, starts([PGD(**TINY, steps=2)] * 2)[0])


def test_attacks_that_differ_keep_the_streams_of_their_texts():
    one, other = PGD(**TINY, steps=2), PGD(**TINY, steps=3)

    assert streams([one]) + streams([other]) == streams([one, other])


def test_a_minimum_norm_attack_can_be_joined_to_itself():
    run = AttackRun((DDN(steps=3), DDN(steps=3)), slots=2)

    assert {4} == set(outcome_of(run)["evals_ddn-2"].tolist())


@pytest.fixture
def brief(monkeypatch):
    """Version rand with short walks: 20 draws of each of its 2 x 100 steps would take long."""
    walks = APGD(**TINY, steps=2), APGD(**TINY, steps=2, loss="dlr")
    monkeypatch.setattr(AutoAttack, "attacks", walks)


def rand_and(*others):
    return AttackRun((AutoAttack(**TINY, version="rand"), *others), slots=8)


@pytest.mark.usefixtures("brief")
def test_repeats_of_one_member_are_not_those_of_the_others():
    run = rand_and(PGD(**TINY, steps=4), Square(**TINY, queries=7))
    columns = outcome_of(run)

    assert {5} == set(columns["evals_pgd"].tolist())
    assert {7} == set(columns["evals_square"].tolist())


@pytest.mark.usefixtures("brief")
def test_budgets_tell_what_repeats_cost():
    run = rand_and(Square(**TINY, queries=7))
    columns = outcome_of(run)

    assert 20 * 3 == run.budgets(5)[0]
    assert run.budgets(5) == tuple(int(columns[f"evals_{name}"][0]) for name in run.members)


@pytest.mark.usefixtures("brief")
def test_repeats_are_those_of_the_stage_at_every_eps():
    parts = AutoAttack(**TINY, version="rand"), PGD(**TINY, steps=2)
    run = AttackRun(parts, (1e-7, 1e-6), slots=8)
    told = [part for part in run.run([Batch(IMAGES, LABELS, IDS)], MODEL, 0) if len(part.ids)]

    assert {3} == {int(count) for part in told for count in part.extra["evals_pgd"]}


@pytest.mark.parametrize("name", ["pgd", "apgd", "fab", "square"])
def test_a_class_to_aim_at_that_the_model_does_not_have_is_told(name):
    with pytest.raises(BadValueError, match=r"target must be 0\.\.4, got 5"):
        holdfast.craft(f"{name}(eps=8/255, target=5)", MODEL, IMAGES, LABELS)


def test_the_last_class_may_be_aimed_at():
    crafted = holdfast.craft("fgsm(eps=8/255, target=4)", MODEL, IMAGES, LABELS)

    assert COUNT == len(crafted)


def test_wanted_labels_that_the_model_does_not_have_are_told():
    with pytest.raises(BadValueError, match=r"labels must be 0\.\.4"):
        holdfast.craft("pgd(eps=8/255)", MODEL, IMAGES, LABELS + 5, targeted=True)
