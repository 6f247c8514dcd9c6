from dataclasses import dataclass
from fractions import Fraction

import pytest

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.core.specs import (
    build,
    canonical,
    format_spec,
    parse_spec,
    split_specs,
    split_sum,
)
from holdfast.perturb.corruptions import CORRUPTIONS


@dataclass(frozen=True, kw_only=True)
class Part:
    severity: int | None = None
    sigma: float | None = None


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("fog", "fog", {}),
        ("fog()", "fog", {}),
        (" fog( severity = 3 ) ", "fog", {"severity": 3}),
        ("noise-sweep", "noise-sweep", {}),
        ("pgd(norm=linf, eps=8/255)", "pgd", {"norm": "linf", "eps": Fraction(8, 255)}),
        ("shift(by=-0.5, wrap=True)", "shift", {"by": -0.5, "wrap": True}),
    ],
)
def test_a_spec_is_read(text, name, arguments):
    spec = parse_spec(text)

    assert (name, arguments) == (spec.name, dict(spec.arguments))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fog(",
        "fog(3)",
        "fog(severity=)",
        "fog(severity=1, severity=2)",
        "fog(**x)",
        "__import__('os').system('true')",
        "fog(severity=open('x'))",
        "fog(severity=1/0)",
        "fog; snow",
        "3",
        "fog(severity=[])",
        "fog(severity=[[1]])",
        "(" * 500,
    ],
)
def test_what_is_not_a_spec_is_refused(text):
    with pytest.raises(BadValueError, match="cannot read the spec"):
        parse_spec(text)


def test_canonical_text_survives_a_round_trip():
    text = "pgd(norm=linf, eps=8/255, steps=40, alpha=0.01)"

    assert text == str(parse_spec("pgd( norm=linf,eps=8/255,steps=40 ,alpha=.01)"))
    assert text == str(parse_spec(text))


def test_canonical_text_is_in_declared_order_and_leaves_none_out():
    assert "part(sigma=0.1)" == canonical("part", Part(sigma=0.1))
    assert "part(severity=3, sigma=0.1)" == canonical("part", Part(sigma=0.1, severity=3))
    assert "part" == format_spec("part", {"severity": None})


def test_a_whole_number_serves_where_a_number_is_wanted():
    assert Part(sigma=1.0) == build("part", "part", Part, {"sigma": 1})
    assert "part(sigma=1.0)" == canonical("part", build("part", "part", Part, {"sigma": 1}))


@pytest.mark.parametrize("value", [3.0, "three", True, Fraction(1, 2)])
def test_a_value_of_another_type_is_refused(value):
    with pytest.raises(BadValueError, match="severity must be a whole number"):
        build("part", "part", Part, {"severity": value})


def test_an_unknown_parameter_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean severity"):
        build("part", "part", Part, {"sevrity": 3})


def test_specs_are_split_at_outer_commas():
    assert ["a(b=1, c=2)", "d"] == split_specs("a(b=1, c=2), d,")


def test_lists_are_tuples_and_written_in_brackets():
    spec = parse_spec("pgd(eps=[2/255,4/255], norm=linf)")

    assert (Fraction(2, 255), Fraction(4, 255)) == dict(spec.arguments)["eps"]
    assert "pgd(eps=[2/255, 4/255], norm=linf)" == str(spec)


def test_a_list_where_one_value_belongs_is_refused():
    with pytest.raises(BadValueError, match=r"severity must be a whole number, got \[1, 2\]"):
        build("corruption", "fog", CORRUPTIONS["fog"], {"severity": (1, 2)})


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("5/255", "5/255"), ("1/51", "5/255"), ("1/5", "1/5"), ("17/255", "17/255"), ("1/7", "1/7")],
)
def test_small_numbers_of_255ths_are_written_as_such(text, canonical):
    assert f"pgd(eps={canonical})" == str(parse_spec(f"pgd(eps={text})"))


def test_a_sum_is_split_outside_parentheses():
    assert ["pgd(a=1)", "square"] == split_sum("pgd(a=1) + square")


@pytest.mark.parametrize("text", ["pgd(a=1) + ", "+ pgd", "pgd + + square", "+"])
def test_a_plus_sign_needs_an_attack_on_both_sides(text):
    with pytest.raises(BadValueError, match="a plus sign joins two attacks"):
        split_sum(text)


def test_an_empty_list_is_told():
    with pytest.raises(BadValueError, match="a list in it is empty"):
        parse_spec("pgd(eps=[])")
