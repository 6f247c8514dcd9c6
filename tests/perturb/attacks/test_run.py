"""An attack as a perturbation: its texts, its conditions, and what it tells of each sample."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from helpers import Textured, pictures
from holdfast.core.errors import BadTypeError, BadValueError, UnknownNameError
from holdfast.perturb.attacks import run as run_module
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.fgsm import FGSM
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.attacks.square import Square
from holdfast.perturb.base import Batch
from holdfast.perturb.conditions import parse_conditions

COUNT = 20
MODEL = Textured()
IMAGES = torch.from_numpy(pictures(COUNT)).permute(0, 3, 1, 2).float() / 255
with torch.no_grad():
    LABELS = MODEL(IMAGES).argmax(1)
LABELS[3] = (LABELS[3] + 1) % 5  # wrong from the start
IDS = torch.arange(COUNT) + 50


def batches(size=6):
    for rows in torch.arange(COUNT).split(size):
        yield Batch(IMAGES[rows], LABELS[rows], IDS[rows])


def read(text):
    """The attack that a text stands for."""
    clean, run = parse_conditions(text)
    assert "clean" == clean.spec
    return run


def column(run, name, *, model=MODEL, condition=0):
    """Id -> value of an extra column of one condition."""
    found = {}
    for outcome in run.run(batches(), model, 0):
        if len(outcome.ids) and outcome.condition == condition:
            found |= dict(zip(outcome.ids.tolist(), outcome.extra[name].tolist(), strict=True))
    return found


# Texts


TEXTS = [
    "pgd(eps=8/255)",
    "pgd(eps=[2/255, 4/255, 8/255])",
    "pgd(eps=8/255, after=[2/255, 4/255])",
    "pgd(norm=l2, eps=[0.5, 1])",
    "pgd(norm=l1, eps=12)",
    "fgsm(eps=8/255) + square(eps=8/255)",
    "fgsm(eps=[4/255, 8/255]) + square(eps=[4/255, 8/255], queries=9)",
    "fgsm(eps=8/255, after=[4/255]) + square(eps=8/255, after=[4/255])",
    "autoattack(norm=linf, eps=[2/255, 8/255], version=plus)",
    "fmn(norm=l2)",
    "ddn(eps=0.5)",
    "pgd(eps=8/255, target=3)",
    "pgd(eps=8/255, target=least_likely)",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_canonical_text_stands_for_itself(text):
    spec = read(text).spec

    assert spec == read(spec).spec


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_each_condition_stands_for_that_condition(text):
    conditions = read(text).conditions

    assert [part.spec for part in conditions] == [read(part.spec).spec for part in conditions]
    assert [part.eps for part in conditions] == [read(part.spec).eps for part in conditions]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pgd(eps=8/255)", "pgd(eps=0.03137254901960784)"),
        ("pgd(eps=8/255)", "pgd( norm = linf , eps=16/510)"),
        ("pgd(norm=l1, eps=12)", "pgd(norm=l1, eps=12.0)"),
        ("pgd(eps=1/5)", "pgd(eps=0.2)"),
        ("pgd(eps=[8/255])", "pgd(eps=8/255)"),
        ("pgd(eps=[4/255, 8/255], steps=9)", "pgd(steps=9, eps=[0.01568627450980392, 8/255])"),
        ("pgd", "pgd(norm=linf, eps=8/255, steps=40)"),
    ],
)
def test_one_attack_has_one_text(one, other):
    assert read(one).spec == read(other).spec


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("pgd(eps=8/255)", "eps=8/255,"),
        ("pgd(norm=l1, eps=12)", "eps=12.0,"),
        ("pgd(eps=[4/255, 8/255])", "eps=[4/255, 8/255],"),
        ("pgd(eps=8/255, after=[4/255])", "after=[4/255])"),
    ],
)
def test_the_text_writes_radii_as_people_do(text, piece):
    assert piece in read(text).spec


def test_a_text_and_its_objects_are_the_same_run():
    radii = (Fraction(4, 255), Fraction(8, 255))
    written = AttackRun((FGSM(eps=8 / 255), Square(eps=8 / 255)), radii)

    assert read("fgsm(eps=[4/255, 8/255]) + square(eps=[4/255, 8/255])") == written


def test_the_smallest_radius_is_the_condition_it_is_alone():
    assert read("pgd(eps=[4/255, 8/255])").conditions[0].spec == read("pgd(eps=4/255)").spec


def test_a_larger_radius_knows_those_before_it():
    last = read("pgd(eps=[2/255, 4/255, 8/255])").conditions[-1]

    assert read("pgd(eps=8/255, after=[2/255, 4/255])").spec == last.spec
    assert read("pgd(eps=8/255)").spec != last.spec


def test_some_of_the_conditions_need_no_larger_radius():
    run = read("pgd(eps=[2/255, 4/255, 8/255])")
    some = run.only([run.conditions[1]])

    assert (tuple(run.eps[:2]), (1,)) == (some.eps, some.measured)


def test_all_of_the_conditions_are_the_whole():
    run = read("pgd(eps=[2/255, 4/255, 8/255])")

    assert run == run.only(run.conditions)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("pgd(eps=8)", BadValueError, "did you mean 8/255?"),
        ("autoattack(eps=8)", BadValueError, "did you mean 8/255?"),
        ("pgd(eps=[2/255, 8])", BadValueError, "did you mean 8/255?"),
        ("pgd(eps=-1)", BadValueError, "eps must be above 0 and finite"),
        ("pgd(eps=0)", BadValueError, "eps must be above 0 and finite"),
        ("pgd(eps=[4/255, 2/255])", BadValueError, "must ascend, got 4/255, 2/255"),
        ("pgd(eps=[4/255, 4/255])", BadValueError, "must ascend"),
        ("pgd(eps=4/255, after=[8/255])", BadValueError, "must ascend"),
        ("pgd(after=[4/255])", BadValueError, "no eps in pgd(after=[4/255])"),
        ("fmn(after=[4/255])", BadValueError, "no eps"),
        ("pgd(eps=4/255) + fgsm(eps=8/255)", BadValueError, "must have the same eps"),
        ("pgd(eps=8/255) + ddn(norm=l2, eps=8/255)", BadValueError, "must have one norm"),
        ("pgd(eps=8/255, target=1) + fgsm(eps=8/255)", BadValueError, "must have one target"),
        ("ddn(norm=linf)", BadValueError, "norm"),
        ("pgd(norm=l3)", (BadValueError, UnknownNameError), "linf"),
        ("pgd(eps=8/255, size=3)", UnknownNameError, "no parameter of attack pgd named 'size'"),
        ("pgd(eps=8/255, step=3)", UnknownNameError, "did you mean"),
        ("autoattack(version=fast)", BadValueError, "version must be"),
        ("pgd(eps=yes)", (BadValueError, BadTypeError), "eps must be"),
        ("pgd(eps=8/255) + fog(severity=3)", (BadValueError, UnknownNameError), "fog"),
    ],
)
def test_a_wrong_text_is_told(text, error, words):
    with pytest.raises(error) as caught:
        parse_conditions(text)

    assert words in str(caught.value)


def test_no_attack_at_all_is_refused():
    with pytest.raises(BadValueError, match="at least one part"):
        AttackRun(())


# Outcomes


@pytest.mark.parametrize("eps", [0.002, 0.02])
def test_every_sample_comes_back_once_in_each_condition(eps):
    run = AttackRun((PGD(eps=eps, steps=2), Square(eps=eps, queries=3)), (eps, 0.03))
    seen = [
        (outcome.condition, id_)
        for outcome in run.run(batches(), MODEL, 0)
        for id_ in outcome.ids.tolist()
    ]

    assert sorted((place, id_) for place in (0, 1) for id_ in IDS.tolist()) == sorted(seen)


def test_images_given_back_lie_in_the_ball_and_get_their_logits():
    for outcome in AttackRun((PGD(eps=0.004, steps=4),)).run(batches(), MODEL, 0):
        if not len(outcome.ids):
            continue
        change = (outcome.images - outcome.originals).flatten(1).abs().amax(1)
        with torch.no_grad():
            logits = MODEL(outcome.images)
        fell = outcome.extra["broken_by"] == 0
        assert change.max() <= 0.004 + 1e-7
        assert torch.allclose(change[fell].double(), outcome.extra["norm"][fell], atol=1e-7)
        assert torch.allclose(logits, outcome.logits, atol=1e-3)
        assert torch.equal(logits.argmax(1) == outcome.labels, outcome.extra["broken_by"] == 1)


def test_codes_of_what_broke_a_sample_have_names():
    run = AttackRun((PGD(eps=0.004, steps=4), Square(eps=0.004, queries=3)))
    codes = column(run, "broken_by")

    assert {"broken_by": {-1: "clean", 0: "pgd", 1: "square"}} == run.names
    assert -1 == codes[int(IDS[3])]
    assert {-1, 0, 2} <= set(codes.values())


def test_a_sample_that_stands_spends_what_the_budget_says():
    small = AttackRun((PGD(eps=1e-6, steps=5, restarts=2), Square(eps=1e-6, queries=7)))

    for place, name in enumerate(small.members):
        spent = column(small, f"evals_{name}")
        del spent[int(IDS[3])]
        assert {small.budgets(5)[place]} == set(spent.values())


class Counting(torch.nn.Module):
    """The model, which counts the rows that it is shown."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def forward(self, images):
        self.rows += len(images)
        return MODEL(images)


class NoChecks:
    """Nothing beside the attack, so that every pass is the attack's."""

    found = frozenset()

    def __init__(self, attacks, judge, search, *, seed):
        pass

    def see(self, verdict):
        pass

    def flags(self):
        return frozenset()


@pytest.mark.parametrize(
    "spec",
    [
        "pgd(eps=0.004, steps=4)",
        "pgd(eps=[0.002, 0.004, 0.02], steps=4)",
        "pgd(eps=[0.002, 0.004], steps=3) + square(eps=[0.002, 0.004], queries=5)",
        "apgd(eps=0.004, steps=5)",
        "ddn(steps=4)",
        "fab(eps=0.004, steps=3, targets=2)",
    ],
)
def test_evaluations_add_up_to_the_rows_that_the_models_saw(spec, monkeypatch):
    monkeypatch.setattr(run_module, "Checks", NoChecks)
    judge, search = Counting(), Counting()
    object.__setattr__(judge, "search", search)  # no part of its own network
    run = read(spec).sized(1)  # one slot: nothing is padded
    told = sum(sum(column_of.values()) for column_of in forward_by_condition(run, judge))

    assert judge.rows + search.rows == told


def forward_by_condition(run, model):
    """Id -> forward passes, one dictionary a condition, from one run."""
    found = [{} for _ in run.conditions]
    for outcome in run.run(batches(), model, 0):
        if len(outcome.ids):
            passes = outcome.forward_evals.tolist()
            found[outcome.condition] |= dict(zip(outcome.ids.tolist(), passes, strict=True))
    return found


def test_a_part_of_a_curve_counts_what_was_run_for_it():
    run = read("pgd(eps=[0.002, 0.004, 0.02], steps=4)")
    whole = forward_by_condition(run, MODEL)
    alone = forward_by_condition(run.conditions[-1], MODEL)[0]

    assert alone == {id_: sum(part[id_] for part in whole) for id_ in alone}


def test_the_published_budget_of_autoattack_is_what_a_standing_sample_gets():
    members = read("autoattack(eps=8/255)")

    # Croce and Hein 2020: 100 iterations, 9 target classes, 5,000 queries.
    assert ("apgd-ce", "apgd-t", "fab-t", "square") == members.members
    assert 5000 == members.budgets(10)[3]


def test_an_empty_stream_gives_nothing():
    assert [] == list(AttackRun((PGD(),)).run([], MODEL, 0))


def test_draws_of_a_randomized_model_are_in_the_budget():
    assert (101 * 20, 101 * 20) == AttackRun((AutoAttack(version="rand"),)).budgets(10)


@pytest.mark.parametrize(
    ("count", "broken", "raised"),
    [(1000, 2, False), (1000, 3, True), (10, 1, False), (10, 2, True)],
)
def test_a_black_box_is_stronger_beyond_two_in_a_thousand(count, broken, raised):
    by = np.array(["square"] * broken + ["apgd-ce"] * (count - broken))

    assert raised == ("black_box_stronger" in AttackRun((AutoAttack(),)).judge({"broken_by": by}))
