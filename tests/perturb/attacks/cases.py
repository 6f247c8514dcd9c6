"""Every registered attack in every norm it takes: what the laws are parametrised by."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks import ATTACKS
from holdfast.perturb.attacks.balls import BALLS

EPS = {"linf": 8 / 255, "l2": 0.5, "l1": 2.0}
BRIEF = {"steps": 6, "queries": 14}  # instead of the published budgets
VARIANTS = {
    "ddn": [{"steps": 20}],  # with two probes
    "fmn": [{"steps": 20}],
    "apgd": [{"loss": "dlr"}, {"loss": "targeted_dlr"}, {"restarts": 2}],
    "fab": [{"targets": 9}, {"restarts": 2}],
    "pgd": [{"momentum": 0.9, "loss": "margin"}],
    "square": [{"loss": "cross_entropy"}],
}


@dataclass(frozen=True)
class Case:
    """A registered attack in one norm, with settings that are not its defaults."""

    name: str
    norm: str
    settings: tuple[tuple[str, object], ...] = ()

    def __str__(self):
        return "-".join([self.name, self.norm, *(f"{key}={value}" for key, value in self.settings)])

    def attack(self, **settings):
        part = ATTACKS[self.name]
        known = {f.name for f in fields(part)}
        brief = {key: value for key, value in BRIEF.items() if key in known}
        given = {"norm": self.norm, "eps": EPS[self.norm], **brief, **dict(self.settings)}
        return part(**{**given, **settings})

    def is_taken(self):
        try:
            self.attack()
        except BadValueError:
            return False
        return True


CASES = [case for name in ATTACKS for norm in BALLS if (case := Case(name, norm)).is_taken()]
VARIED = CASES + [
    Case(case.name, case.norm, tuple(settings.items()))
    for case in CASES
    for settings in VARIANTS.get(case.name, [])
]
FIRST = {case.name: case for case in reversed(CASES)}.values()  # each attack in one norm
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_variant = pytest.mark.parametrize("case", VARIED, ids=str)
each_attack = pytest.mark.parametrize("case", FIRST, ids=str)
