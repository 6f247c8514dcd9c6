"""What a known bug is: an exact text of the package, and what to put in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One mistake that somebody could make.

    Attributes:
        name: What goes wrong.
        old: Text that occurs exactly once in the file.
        new: Its replacement.
        file: Below src/holdfast.
        tests: What pytest is given, below tests; the first failure ends the run.
    """

    name: str
    old: str
    new: str
    file: str = ""
    tests: tuple[str, ...] = ()


_ATTACKS = "perturb/attacks/"


def of_attack(file: str, tests: str, *bugs: tuple[str, str, str]) -> list[Bug]:
    paths = tuple(f"{_ATTACKS}{name}.py" for name in tests.split())
    return [Bug(*bug, file=f"{_ATTACKS}{file}.py", tests=paths) for bug in bugs]


def of_measuring(file: str, tests: str, *bugs: tuple[str, str, str]) -> list[Bug]:
    paths = tuple(f"measuring/{name}.py" for name in tests.split())
    return [Bug(*bug, file=f"{file}.py", tests=paths) for bug in bugs]
