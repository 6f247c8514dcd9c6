"""What people may write for an attack, and what they are told when it cannot be."""

from __future__ import annotations

import math
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
import torch
from attacks.cases import BRIEF, CASES, each_attack, each_case

from holdfast.core.errors import BadTypeError, BadValueError, HoldfastError, UnknownNameError
from holdfast.core.specs import build, canonical, parse_spec
from holdfast.perturb.attacks import ATTACKS
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.pgd import PGD


@each_case
def test_the_text_of_an_attack_is_read_back_as_the_same_attack(case):
    attack = case.attack(target="second")
    spec = parse_spec(canonical(case.name, attack))

    again = build("attack", spec.name, ATTACKS[spec.name], dict(spec.arguments))

    assert attack == again and hash(attack) == hash(again)


def test_each_norm_has_an_attack_with_and_one_without_gradients():
    kinds = {(case.norm, ATTACKS[case.name].gradients) for case in CASES}

    assert {(norm, kind) for norm in BALLS for kind in (True, False)} == kinds


@pytest.mark.parametrize(
    ("eps", "error", "message"),
    [
        (-1, BadValueError, "above 0 and finite, as in eps=8/255, got -1"),
        (0, BadValueError, "above 0 and finite"),
        (math.nan, BadValueError, "above 0 and finite"),
        (math.inf, BadValueError, "above 0 and finite"),
        ("big", BadTypeError, "must be a number such as 8/255, got 'big'"),
        (True, BadTypeError, "must be a number such as 8/255, got True"),
    ],
    ids=str,
)
@each_case
def test_a_bad_eps_is_refused(case, eps, error, message):
    with pytest.raises(error, match=message):
        case.attack(eps=eps)


@pytest.mark.parametrize("case", [case for case in CASES if case.norm == "linf"], ids=str)
def test_an_eps_on_the_scale_of_8_bits_gets_a_hint(case):
    with pytest.raises(BadValueError, match=r"did you mean 8/255\?"):
        case.attack(eps=8)


@each_attack
def test_an_eps_that_is_not_given_is_customary_unless_the_smallest_norm_is_sought(case):
    customary = {"linf": Fraction(8, 255), "l2": 0.5, "l1": 12.0}[case.norm]
    sought = ATTACKS[case.name].minimum_norm

    assert (None if sought else customary) == case.attack(eps=None).eps


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5), ("l1", 12.0)])
def test_autoattack_takes_the_customary_eps_of_its_norm(norm, eps):
    assert {eps} == {float(part.eps) for part in AutoAttack(norm=norm).attacks}


def test_a_norm_is_read_in_any_case():
    assert PGD(norm="l2", eps=0.5) == PGD(norm="L2", eps=0.5)


@pytest.mark.parametrize(
    ("typed", "eps"),
    [
        (Fraction(1, 2), 0.5),
        (Fraction(1, 10), 0.1),
        (Fraction(157, 5000), 0.0314),
        (Fraction(1, 5), 0.2),
    ],
)
def test_a_radius_that_is_no_255th_is_a_float_however_it_is_written(typed, eps):
    assert repr(eps) == repr(PGD(eps=typed).eps) == repr(PGD(eps=eps).eps)


@pytest.mark.parametrize("typed", [Fraction(8, 255), 8 / 255])
def test_a_radius_of_255ths_is_that_fraction_however_it_is_written(typed):
    assert repr(Fraction(8, 255)) == repr(PGD(eps=typed).eps)


def test_an_eps_above_all_levels_gets_no_hint_at_255ths():
    with pytest.raises(BadValueError) as caught:
        PGD(eps=300)

    assert "did you mean" not in str(caught.value)


@each_attack
def test_an_unknown_norm_is_refused(case):
    with pytest.raises(UnknownNameError, match="no norm named 'l3'; did you mean"):
        case.attack(norm="l3")


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("leest_likely", UnknownNameError, "did you mean least_likely"),
        (-2, BadValueError, "must be a class from 0 or one of second, least_likely, random"),
        (1.5, BadValueError, "must be a class from 0 or one of"),
        (True, BadValueError, "must be a class from 0 or one of"),
    ],
    ids=str,
)
@each_attack
def test_a_bad_target_is_refused(case, target, error, message):
    with pytest.raises(error, match=message):
        case.attack(target=target)


@each_attack
@pytest.mark.parametrize("value", [0, -3, 2.0, "many", True, math.nan], ids=str)
def test_a_bad_budget_is_refused(case, value):
    known = {f.name for f in fields(ATTACKS[case.name])} & (BRIEF.keys() | {"restarts"})

    for field in known:
        with pytest.raises((BadTypeError, BadValueError), match=f"{field} must be"):
            case.attack(**{field: value})


@pytest.mark.parametrize(
    "eps", [np.float32(8 / 255), np.float64(8 / 255), torch.tensor(8 / 255), np.array(8 / 255)]
)
def test_a_number_of_another_library_is_a_radius(eps):
    assert PGD(eps=Fraction(8, 255)) == PGD(eps=eps)


def test_a_list_of_one_number_is_no_radius():
    with pytest.raises(HoldfastError, match="eps must be a number"):
        PGD(eps=np.array([8 / 255]))
