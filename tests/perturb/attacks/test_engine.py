"""The engine against the simplest loop, against itself in other orders, and against bad models."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from helpers import Textured, pictures
from holdfast.core.errors import BadValueError
from holdfast.core.specs import canonical
from holdfast.perturb.attacks.apgd import APGD
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.engine import Engine, Setting
from holdfast.perturb.attacks.evaluator import Evaluator
from holdfast.perturb.attacks.fab import FAB
from holdfast.perturb.attacks.fgsm import FGSM
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.attacks.samples import CLEAN
from holdfast.perturb.attacks.square import Square
from holdfast.perturb.base import Batch
from perturb.attacks.naive import walk

COUNT = 24
MODEL = Textured()
IMAGES = torch.from_numpy(pictures(COUNT, 32)).permute(0, 3, 1, 2).float() / 255
with torch.no_grad():
    LABELS = MODEL(IMAGES).argmax(1)
LABELS[:2] = (LABELS[:2] + 1) % 5  # two are wrong from the start
IDS = torch.arange(100, 100 + COUNT)
WEAK = {"eps": 0.004}  # breaks some of them


def batches(order=None, size=5):
    order = torch.arange(COUNT) if order is None else order
    for index in order.split(size):
        yield Batch(IMAGES[index], LABELS[index], IDS[index])


def verdicts(attacks, *, model=MODEL, judge=None, stream=None, **setting):
    """Id -> (stage, norm, image, forward passes by stage, gradients by stage)."""
    setting = Setting(**{"slots": 7, "seed": 3, **setting})
    search = Evaluator(model, setting.slots)
    engine = Engine(attacks, search, Evaluator(judge or model, setting.slots), setting)
    found = {}
    for verdict in engine.run(batches() if stream is None else stream):
        for row, id_ in enumerate(verdict.samples.ids.tolist()):
            assert id_ not in found
            found[id_] = (
                int(verdict.stage[row]),
                float(verdict.norm[row]),
                verdict.images[row],
                verdict.samples.forward[row].tolist(),
                verdict.samples.gradient[row].tolist(),
            )
    return found, engine.flags | search.flags


def test_the_engine_says_what_the_simplest_loop_says():
    attack = PGD(**WEAK, steps=4)
    found, _ = verdicts([attack])
    fell = set()
    for row in range(2, COUNT):
        keyed = {"id_": int(IDS[row]), "seed": 3, "stream": canonical(attack.name, attack)}
        one = walk(attack, MODEL, IMAGES[row], int(LABELS[row]), **keyed)
        broken = [int(logits.argmax()) != int(LABELS[row]) for logits in one.logits]
        first = broken.index(True) if True in broken else None
        stage, norm, image, forward, _ = found[int(IDS[row])]
        assert (1 if first is None else 0) == stage
        assert (len(broken) if first is None else first + 1) == forward[0]
        if first is not None:
            fell.add(row)
            assert torch.allclose(one.seen[first], image, atol=1e-6)
            assert (one.seen[first] - IMAGES[row]).abs().max() == pytest.approx(norm, abs=1e-6)

    assert 3 < len(fell) < COUNT - 5


def test_what_was_wrong_from_the_start_is_not_attacked():
    found, _ = verdicts([PGD(**WEAK, steps=4)])

    for row in (0, 1):
        stage, norm, image, forward, gradient = found[int(IDS[row])]
        assert (CLEAN, 0.0, [0, 1], [0, 0]) == (stage, norm, forward, gradient)
        assert torch.equal(IMAGES[row], image)


@pytest.mark.parametrize("slots", [1, 7, 64])
def test_equal_slots_give_bit_identical_results_in_any_order(slots):
    attacks = [APGD(**WEAK, steps=6), FAB(**WEAK, steps=4, targets=2), Square(**WEAK, queries=20)]
    order = torch.tensor([(7 * place + 3) % COUNT for place in range(COUNT)])
    one, _ = verdicts(attacks, slots=slots)
    other, _ = verdicts(attacks, slots=slots, stream=batches(order, size=9))

    assert one.keys() == other.keys() == set(IDS.tolist())
    for id_, (stage, norm, image, forward, gradient) in one.items():
        again = other[id_]
        assert (stage, forward, gradient) == (again[0], again[3], again[4])
        assert (norm == again[1]) or math.isnan(norm)
        assert torch.equal(image, again[2])


def test_the_number_of_slots_changes_no_verdict():
    attacks = [APGD(**WEAK, steps=6), Square(**WEAK, queries=20)]
    told = [
        {id_: (v[0], v[3]) for id_, v in verdicts(attacks, slots=slots)[0].items()}
        for slots in (1, 7, 64)
    ]

    assert told[0] == told[1] == told[2]


def test_a_sample_that_stands_gets_the_whole_budget_of_every_attack():
    tiny = {"eps": 1e-6}
    attacks = [
        APGD(**tiny, steps=7),
        APGD(**tiny, steps=5, loss="targeted_dlr", targets=3, restarts=2),
        FAB(**tiny, steps=3, targets=4),
        Square(**tiny, queries=11),
    ]
    found, _ = verdicts(attacks)
    standing = [v for v in found.values() if v[0] == len(attacks)]

    assert COUNT - 2 == len(standing)
    # Steps and the last pass; 3 targets of 2 restarts; 4 targets, each step with its check.
    assert {(8, 6 * 6, 4 * 6, 11, 1)} == {tuple(v[3]) for v in standing}
    assert {(7, 6 * 5, 4 * 3, 0, 0)} == {tuple(v[4]) for v in standing}


def test_what_fell_is_confirmed_once_and_goes_no_further():
    found, _ = verdicts([PGD(eps=0.2, steps=5), Square(eps=0.2, queries=9)])
    fallen = [v for v in found.values() if v[0] == 0]

    assert COUNT - 2 == len(fallen)
    assert all([0, 2] == v[3][1:] for v in fallen)
    assert all(v[1] <= 0.2 + 1e-6 for v in fallen)


def test_an_image_that_the_judge_does_not_confirm_is_not_counted_and_flagged():
    class Shy(nn.Module):
        """Says the label of the nearest clean picture: no small change moves it."""

        def forward(self, images):
            near = torch.cdist(images.flatten(1), IMAGES.flatten(1)).argmin(1)
            return torch.nn.functional.one_hot(LABELS[near], 5).float()

    attack = PGD(eps=0.2, steps=5)
    found, flags = verdicts([attack], judge=Shy())

    assert {1} == {v[0] for v in found.values()}
    assert "unconfirmed" in flags
    # Each goes on to the end of its budget, and each of its attempts was shown to the judge.
    assert {6} == {v[3][0] for v in found.values()}
    assert max(v[3][1] for v in found.values()) > 2


def test_a_fall_outside_the_ball_does_not_count():
    found, _ = verdicts([APGD(norm="l1", eps=0.02, steps=10, large_eps=True)])

    assert all(v[1] <= 0.02 * (1 + 1e-6) + 1e-6 for v in found.values() if v[0] == 0)


def run_of(*parts, slots=7, **fields):
    return AttackRun(parts, slots=slots, **fields)


def outcomes(run, model=MODEL, seed=3, stream=None):
    """Condition -> id -> (right, forward passes, norm, member)."""
    told, flags = {}, set()
    for outcome in run.run(batches() if stream is None else stream, model, seed):
        flags |= outcome.flags
        right = outcome.logits.argmax(1) == outcome.labels if len(outcome.ids) else []
        for row, id_ in enumerate(outcome.ids.tolist()):
            told.setdefault(outcome.condition, {})[id_] = (
                bool(right[row]),
                int(outcome.forward_evals[row]),
                float(outcome.extra["norm"][row]),
                int(outcome.extra["broken_by"][row]),
            )
    return told, flags


def standing(told):
    return {id_ for id_, row in told.items() if row[0]}


def test_the_smallest_eps_is_measured_as_if_alone():
    attack = APGD(eps=0.002, steps=6)
    alone, _ = outcomes(run_of(attack))
    curve, _ = outcomes(run_of(attack, eps=(0.002, 0.006, 0.02)))

    assert repr(sorted(alone[0].items())) == repr(sorted(curve[0].items()))


def test_what_fell_at_one_eps_has_fallen_at_every_larger_one_at_no_cost():
    curve, _ = outcomes(run_of(PGD(eps=1.0, steps=3), eps=(0.002, 0.006, 0.05)))
    first, second, third = (standing(curve[place]) for place in range(3))

    assert first > second > third
    for id_ in set(IDS.tolist()) - first:
        assert curve[0][id_][2:] == curve[1][id_][2:] == curve[2][id_][2:]
        assert 0 == curve[1][id_][1] == curve[2][id_][1]


def test_a_minimum_found_at_one_eps_serves_the_next():
    run = run_of(FAB(eps=1.0, steps=10, targets=3), eps=(0.001, 0.2))
    curve, _ = outcomes(run)
    later = standing(curve[0])

    assert len(later) > 10
    assert {1} == {curve[1][id_][1] for id_ in later}  # the confirmation alone
    assert all(0.001 < curve[1][id_][2] <= 0.2 for id_ in later)


def test_a_minimum_beyond_the_next_eps_is_not_put_to_the_judge():
    run = run_of(FAB(eps=1.0, steps=5, targets=2), eps=(0.001, 0.002, 0.2))
    curve, flags = outcomes(run)

    assert any(row[2] > 0.002 for row in curve[2].values())
    assert "unconfirmed" not in flags


def test_measuring_one_of_several_eps_gives_what_the_curve_gives():
    run = run_of(PGD(eps=1.0, steps=3), eps=(0.002, 0.006, 0.05))
    curve, _ = outcomes(run)
    last, _ = outcomes(run.conditions[2])
    two, _ = outcomes(run.only([run.conditions[0], run.conditions[2]]))

    assert standing(curve[2]) == standing(last[0]) == standing(two[1])
    assert repr(sorted(curve[0].items())) == repr(sorted(two[0].items()))


def test_without_an_eps_the_smallest_perturbation_is_the_result():
    told, _ = outcomes(run_of(FAB(steps=10, targets=4)))
    bounded, _ = outcomes(run_of(FAB(steps=10, targets=4, eps=0.2)))

    assert set() == standing(told[0])
    assert all(told[0][i][2] <= bounded[0][i][2] + 1e-9 for i in told[0] if i >= 102)
    assert {1 + 1 + 4 * 20} == {row[1] for i, row in told[0].items() if i >= 102}


def test_targets_are_reached_or_the_sample_stands():
    run = run_of(PGD(eps=0.1, steps=20, target="least_likely"))
    with torch.no_grad():
        wanted = MODEL(IMAGES).argmin(1)
    reached = 0
    for outcome in run.run(batches(), MODEL, 0):
        for row, id_ in enumerate(outcome.ids.tolist()):
            if 0 == int(outcome.extra["broken_by"][row]):
                reached += 1
                assert int(wanted[id_ - 100]) == int(outcome.logits[row].argmax())
    assert reached > 5


def test_transfer_shows_the_judge_one_image_a_lane():
    run = run_of(PGD(eps=0.1, steps=5, restarts=2)).crafted_on("other")

    class Pair(nn.Module):
        search = Textured()

        def forward(self, images):
            return MODEL(images.flip(3))

    labels = Pair()(IMAGES).argmax(1)
    stream = [Batch(IMAGES, labels, IDS)]
    told, flags = outcomes(run, Pair(), stream=stream)
    rows = list(told[0].values())

    assert "unconfirmed" not in flags
    # The clean pass, one or two walks of 6, one look at the end of each.
    assert {1 + 7, 1 + 14} >= {row[1] for row in rows} and any(not row[0] for row in rows)


def test_gradients_of_a_random_model_are_averaged_over_repeats():
    seen = []

    class Random(nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return MODEL(images + 0.01 * torch.randn_like(images))

    told, flags = outcomes(
        run_of(AutoAttack(eps=0.02, version="rand"), slots=8), Random(), stream=list(batches())[:1]
    )

    assert "randomized" in flags
    assert any(row[1] % 20 in (1, 2) and row[1] >= 21 for row in told[0].values())


@pytest.mark.parametrize(
    ("labels", "model", "message"),
    [
        (torch.full((COUNT,), 5), MODEL, r"labels must be 0..4, got 5..5"),
        (torch.full((COUNT,), -1), MODEL, r"labels must be 0..4, got -1..-1"),
        (LABELS, lambda images: MODEL(images)[:, :1], "1 logit a sample"),
        (LABELS, lambda images: MODEL(images).detach(), "carry none"),
    ],
)
def test_what_cannot_be_attacked_says_why(labels, model, message):
    with pytest.raises(BadValueError, match=message):
        list(run_of(FGSM(eps=0.1)).run([Batch(IMAGES, labels, IDS)], model, 0))


@pytest.mark.parametrize("change", [lambda x: x * 255, lambda x: (x - 0.5) / 0.25, lambda x: x / 0])
def test_images_outside_the_box_are_refused(change):
    with pytest.raises(BadValueError, match=r"images must lie in \[0, 1\]"):
        list(run_of(FGSM(eps=0.1)).run([Batch(change(IMAGES), LABELS, IDS)], MODEL, 0))


def test_images_outside_the_box_by_rounding_are_clamped_and_need_not_be_contiguous():
    nudged = (IMAGES - 3e-8 * (IMAGES == 0)).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    nudged[0, 0, 0, 0] = -3e-8
    told, _ = outcomes(run_of(PGD(eps=0.01, steps=3)), stream=[Batch(nudged, LABELS, IDS)])

    assert COUNT == len(told[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_breaks_down_near_some_images_is_flagged_and_the_run_goes_on(value):
    class Fragile(nn.Module):
        def forward(self, images):
            logits = MODEL(images)
            known = (images.flatten(1) == IMAGES.flatten(1)[:, None].amax(1)[0]).all(1)
            broken = (images - images.round(decimals=3)).abs().amax((1, 2, 3)) > 4.9e-4
            return torch.where((broken & ~known)[:, None], logits * value, logits)

    told, flags = outcomes(run_of(PGD(eps=0.02, steps=3)), Fragile())

    assert COUNT == len(told[0])
    assert "nonfinite_logits" in flags


def test_too_small_a_memory_halves_the_calls_and_says_so():
    sizes = []

    class Small(nn.Module):
        def forward(self, images):
            sizes.append(len(images))
            if len(images) > 3:
                raise torch.OutOfMemoryError
            return MODEL(images)

    plain, _ = outcomes(run_of(PGD(**WEAK, steps=4)))
    told, flags = outcomes(run_of(PGD(**WEAK, steps=4)), Small())

    assert "batch_halved" in flags
    assert standing(plain[0]) == standing(told[0])
    assert sizes.count(7) + sizes.count(8) + sizes.count(16) <= 4


def test_the_state_of_waiting_samples_is_bounded_by_the_slots(monkeypatch):
    given = []

    def stream():
        for batch in batches(size=1):
            given.append(batch)
            yield batch

    engine = Engine(
        [PGD(eps=0.2, steps=5)], Evaluator(MODEL, 4), Evaluator(MODEL, 4), Setting(4, 0)
    )
    first = next(iter(engine.run(stream())))

    assert len(first.samples)
    assert len(given) <= 12


def test_lanes_are_walked_only_while_the_sample_stands():
    found, _ = verdicts([PGD(**WEAK, steps=4, restarts=6)])
    fell = [v[3][0] for v in found.values() if v[0] == 0]

    assert any(count <= 5 for count in fell)
    assert {30} == {v[3][0] for v in found.values() if v[0] == 1}


def test_restarts_begin_elsewhere():
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(images.detach()[0].clone())
            return MODEL(images)

    stream = [Batch(IMAGES[5:6], LABELS[5:6], IDS[5:6])]
    verdicts([PGD(eps=1e-6, steps=1, restarts=2)], model=Watching(), stream=stream, slots=1)

    assert not torch.equal(seen[1], seen[3])


def test_a_model_that_writes_into_its_input_is_attacked_as_any_other():
    class Writes(nn.Module):
        def forward(self, images):
            return MODEL(images.mul_(2).sub_(1).add_(1).div_(2))

    attacks = [PGD(**WEAK, steps=4), Square(**WEAK, queries=20)]
    plain = {id_: row[0] for id_, row in verdicts(attacks)[0].items()}

    assert plain == {id_: row[0] for id_, row in verdicts(attacks, model=Writes())[0].items()}
    assert torch.equal(pictures_again(), IMAGES)


def test_images_of_several_shapes_are_refused():
    stream = [
        Batch(IMAGES[:2], LABELS[:2], IDS[:2]),
        Batch(IMAGES[2:4, :, :20], LABELS[2:4], IDS[2:4]),
    ]

    with pytest.raises(BadValueError, match=r"attacks need images of one shape.*--view"):
        verdicts([FGSM(eps=0.1)], stream=stream)


class Rough(nn.Module):
    """The same logits; a derivative at the clean images alone."""

    def forward(self, images):
        moved = ~(images[:, None] == IMAGES).flatten(2).all(2).any(1)
        nothing = 0 * images.flatten(1).sum(1)
        return MODEL(images) + 0 * torch.where(moved, nothing, 1.0).sqrt()[:, None]


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_that_are_not_finite_are_flagged_from_the_step_where_they_begin(steps):
    _, flags = verdicts([PGD(**WEAK, steps=steps, random_start=False)], model=Rough())

    assert (steps == 2) == ("nonfinite_gradients" in flags)


def pictures_again():
    return torch.from_numpy(pictures(COUNT, 32)).permute(0, 3, 1, 2).float() / 255
