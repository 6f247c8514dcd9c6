import pytest

from holdfast.perturb.attacks.base import ATTACKS
from holdfast.perturb.conditions import parse_conditions
from holdfast.report.attack_text import member_name, read_attack
from holdfast.report.conditions import read_condition

PGD = "pgd(norm=linf, eps=8/255, steps=40, random_start=True, restarts=1, momentum=0.0, loss={})"


def read(spec, eps=8 / 255, norm="linf"):
    return read_condition({"condition": spec, "family": "attack", "eps": eps, "norm": norm})


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("autoattack(norm=linf, eps=8/255, version=standard)", "AutoAttack"),
        ("autoattack(norm=l2, eps=1/2, version=plus)", "AutoAttack plus"),
        ("autoattack(norm=linf, eps=8/255, version=standard, after=[2/255])", "AutoAttack"),
        (PGD.format("cross_entropy"), "PGD-40"),
        (PGD.format("margin"), "PGD-40 (loss=margin)"),
        ("fgsm(norm=linf, eps=8/255, loss=cross_entropy)", "FGSM"),
        ("fgsm(norm=linf, eps=8/255, loss=cross_entropy, target=second)", "FGSM (target=second)"),
        ("apgd(norm=linf, eps=8/255, steps=100, restarts=1, loss=dlr, rho=0.75)", "APGD-DLR"),
        ("apgd(norm=linf, eps=8/255, steps=50, restarts=1, loss=dlr)", "APGD-DLR (steps=50)"),
        ("fab(norm=linf, steps=100, restarts=1, targets=9)", "FAB-T"),
        ("ours(norm=linf, eps=8/255, strength=3)", "ours (strength=3)"),
        (f"{PGD.format('cross_entropy')} + square(norm=linf, eps=8/255)", "PGD-40 + Square"),
        ("square(norm=linf, eps=8/255) from timm:a + b@12", "Square from timm:a + b@12"),
        ("not (a spec", "not (a spec"),
    ],
)
def test_an_attack_has_a_short_name_that_says_what_is_unusual(spec, name):
    assert name == read_attack(spec).name


@pytest.mark.parametrize("name", [*ATTACKS, "autoattack"])
def test_an_attack_as_it_comes_has_nothing_unusual(name):
    (attack,) = parse_conditions(name)[1:]

    assert "(" not in read_attack(attack.spec).name


def test_points_of_one_curve_share_their_text():
    first = "autoattack(norm=linf, eps=2/255, version=standard)"
    last = "autoattack(norm=linf, eps=8/255, version=standard, after=[2/255, 4/255])"

    assert read_attack(first).curve == read_attack(last).curve


def test_attacks_with_other_settings_are_on_other_curves():
    assert read_attack(PGD.format("margin")).curve != read_attack(PGD.format("dlr")).curve


def test_transferred_attacks_are_on_a_curve_of_their_source():
    curves = {read_attack(f"{PGD.format('dlr')}{source}").curve for source in ("", " from a@1")}

    assert 2 == len(curves)


def test_the_radii_before_are_read():
    text = read_attack("autoattack(norm=linf, eps=8/255, after=[2/255, 4/255])")

    assert (2 / 255, 4 / 255) == text.after


@pytest.mark.parametrize(
    ("short", "name"),
    [("apgd-ce", "APGD-CE"), ("square", "Square"), ("apgd-t-2", "APGD-T 2"), ("mine", "mine")],
)
def test_members_are_named_as_people_write_them(short, name):
    assert name == member_name(short)


@pytest.mark.parametrize(
    ("eps", "norm", "title"),
    [
        (8 / 255, "linf", "FGSM Linf 8/255"),
        (0.5, "l2", "FGSM L2 0.5"),
        (1.0, "l2", "FGSM L2 1"),
        (128 / 255, "l2", "FGSM L2 128/255"),
        (12.0, "l1", "FGSM L1 12"),
        (None, "l2", "FGSM L2 smallest norm"),
    ],
)
def test_a_title_has_norm_and_radius_in_their_unit(eps, norm, title):
    assert title == read("fgsm(loss=cross_entropy)", eps, norm).title


def test_an_attack_is_neither_corruption_nor_noise_nor_another_condition():
    found = read("pgd(severity=3)")

    assert (None, None, False) == (found.severity, found.sigma, found.is_other)


def test_attacks_are_listed_by_radius_after_corruptions_and_before_the_rest():
    rows = [("common11", "corruption", None), ("a(eps=8/255)", "attack", 8 / 255)]
    rows += [("a(eps=2/255)", "attack", 2 / 255), ("fog(severity=1)", "corruption", None)]
    found = [
        read_condition({"condition": c, "family": f, "eps": e, "norm": "linf" if e else None})
        for c, f, e in rows
    ]

    assert ["fog(severity=1)", "a(eps=2/255)", "a(eps=8/255)", "common11"] == [
        condition.spec for condition in sorted(found, key=lambda condition: condition.order)
    ]
