"""From what people type to perturbations: specs and the named sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from holdfast.core.errors import BadTypeError, BadValueError, HoldfastError, unknown_name
from holdfast.core.specs import Spec, build, format_spec, parse_spec, split_specs, split_sum
from holdfast.perturb.attacks import ATTACKS
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.base import Perturbation
from holdfast.perturb.clean import Clean
from holdfast.perturb.common11 import Common11
from holdfast.perturb.corruptions import CORRUPTIONS

SEVERITIES = (1, 2, 3, 4, 5)

# Hendrycks and Dietterich 2019, arXiv:1903.12261, in their order. By name: a corruption added
# later is no part of a published mean.
STANDARD = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # theirs, for validation

# ImageNet-C's five levels of Gaussian noise (224 px) and two weaker ones; the noise paper
# (Kim et al. 2025, arXiv:2509.20939) does not publish its grid.
NOISE_SWEEP = (0.02, 0.04, 0.08, 0.12, 0.18, 0.26, 0.38)


@dataclass(frozen=True)
class ConditionSet:
    """A name for several conditions."""

    about: str
    specs: tuple[str, ...]


SETS: Mapping[str, ConditionSet] = {
    "corruptions": ConditionSet("The 15 of ImageNet-C at five severities.", STANDARD),
    "corruptions-extra": ConditionSet("Its four validation corruptions.", EXTRA),
    "noise-sweep": ConditionSet(
        f"Gaussian noise of sigma {', '.join(map(str, NOISE_SWEEP))}.",
        tuple(f"gaussian_noise(sigma={sigma})" for sigma in NOISE_SWEEP),
    ),
}
_TOLD = ("eps", "severity")  # of a condition in short, even where they are the default
_SINGLE: Mapping[str, type[Any]] = {"clean": Clean, "common11": Common11}


def known_conditions() -> list[tuple[str, str, str, str]]:
    """All that a condition may begin with: name, group, parameters, what it does."""
    rows = []
    for name in CORRUPTIONS:
        group = "standard" if name in STANDARD else "extra" if name in EXTRA else "other"
        parameters = ", ".join(field.name for field in fields(CORRUPTIONS[name]))
        rows.append((name, group, parameters, _about(CORRUPTIONS[name])))
    attacks = {**{name: ATTACKS[name] for name in ATTACKS}, AutoAttack.name: AutoAttack}
    for name, kind in attacks.items():
        parameters = ", ".join(field.name for field in fields(kind))
        rows.append((name, "attack", parameters, _about(kind)))
    rows += [(name, "single", "", _about(part)) for name, part in _SINGLE.items()]
    rows += [(name, "set", "", entry.about) for name, entry in SETS.items()]
    return rows


def parse_conditions(
    wanted: str | Perturbation | Iterable[str | Perturbation],
) -> list[Perturbation]:
    """Perturbations of all specs in the order typed, clean first, each once.

    A corruption without a severity stands for all five. Clean is always measured: it is what
    the other conditions are read against.

    Args:
        wanted: Specs, names of sets, or perturbations; one text may hold several, with commas
            between.

    Raises:
        BadTypeError: Neither a text nor a perturbation.
        BadValueError: A spec that cannot be read, or a value that a condition refuses.
        UnknownNameError: A name that nobody knows, with the nearest known ones.
    """
    if not isinstance(wanted, str | Perturbation | Iterable):
        raise BadTypeError(
            f"expected a condition such as 'fog' or 'pgd(eps=8/255)', or several, got {wanted!r}"
        )
    listed = [wanted] if isinstance(wanted, str | Perturbation) else list(wanted)
    found: dict[str, Perturbation] = {"clean": Clean()}
    for part in [part for one in listed for part in _read(one)]:
        found.setdefault(part.spec, part)
    return list(found.values())


def short_form(spec: str) -> str:
    """Leave out of a condition's canonical text what goes without saying.

    That is `after`, which a measurement at several eps adds, and all that is a default. Texts
    that are no spec, such as those of a transfer, stay as they are.
    """
    return " + ".join(_shortened(part) for part in split_sum(spec))


def _shortened(text: str) -> str:
    try:
        spec = parse_spec(text)
        whole = {key: value for key, value in spec.arguments if key != "after"}
        wanted = _texts(format_spec(spec.name, whole))
        for key in [key for key in whole if key not in _TOLD]:
            less = {name: value for name, value in whole.items() if name != key}
            if _texts(format_spec(spec.name, less)) == wanted:
                whole = less
    except HoldfastError:
        return text
    return format_spec(spec.name, whole)


def _texts(text: str) -> list[str]:
    return [part.spec for part in parse_conditions(text)]


def _read(one: str | Perturbation) -> list[Perturbation]:
    if isinstance(one, Perturbation):
        return [one]
    if not isinstance(one, str):
        raise BadTypeError(f"a condition is a text such as fog(severity=3), got {one!r}")
    specs = split_specs(one)
    if not specs:
        raise BadValueError("an empty condition; expected NAME or NAME(key=value, ...)")
    found: list[Perturbation] = []
    for text in specs:
        found += _attacked(text) if _is_attack(text) else _parts(parse_spec(text))
    return found


def _attacked(text: str) -> list[Perturbation]:
    """One attack, or several joined by plus signs; eps may be a list, with smaller ones after."""
    parts: list[Any] = []
    radii = set()
    for spec in map(parse_spec, split_sum(text)):
        arguments = _in_lower_case(dict(spec.arguments))
        eps, after = (arguments.get(name) for name in ("eps", "after"))
        if after is not None and eps is None:
            raise BadValueError(f"after tells the radii before eps, and there is no eps in {text}")
        levels = (*_tuple(arguments.pop("after", ())), *_tuple(eps))
        if isinstance(eps, tuple):
            arguments["eps"] = eps[-1]
        kind = AutoAttack if spec.name == AutoAttack.name else ATTACKS[spec.name]
        parts.append(build("attack", spec.name, kind, arguments))
        radii.add((levels, len(_tuple(after))))
    if len(radii) > 1:
        raise BadValueError(f"attacks that are joined must have the same eps, got {text}")
    levels, before = radii.pop()
    _check_order(levels, hint=not before)
    measured = tuple(range(before, len(levels)))
    return [AttackRun(tuple(parts), levels if len(levels) > 1 else (), measured if before else ())]


def _in_lower_case(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take norms as papers write them: Linf, L2."""
    norm = arguments.get("norm")
    return {**arguments, "norm": norm.lower()} if isinstance(norm, str) else arguments


def _check_order(levels: tuple[Any, ...], *, hint: bool) -> None:
    if not all(isinstance(level, int | float | Fraction) for level in levels):
        return  # whoever builds the attack tells
    ordered = tuple(sorted(set(levels)))
    if levels != ordered:
        meant = f"; did you mean [{', '.join(map(str, ordered))}]?" if hint else ""
        raise BadValueError(f"several eps must ascend, got {', '.join(map(str, levels))}{meant}")


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _is_attack(text: str) -> bool:
    first = split_sum(text)[0]
    name = first.split("(")[0].strip()
    return name in ATTACKS or name == AutoAttack.name


def _parts(spec: Spec) -> list[Perturbation]:
    arguments = dict(spec.arguments)
    if spec.name in SETS:
        if arguments:
            raise BadValueError(f"the set {spec.name} takes no parameters, got {spec}")
        return [part for text in SETS[spec.name].specs for part in _parts(parse_spec(text))]
    if spec.name in _SINGLE:
        return [build("condition", spec.name, _SINGLE[spec.name], arguments)]
    if spec.name not in CORRUPTIONS:
        raise unknown_name("condition", spec.name, [row[0] for row in known_conditions()])
    corruption = CORRUPTIONS[spec.name]
    if "severity" in arguments or arguments.keys() & set(corruption.free):
        return [build("corruption", spec.name, corruption, arguments)]
    return [
        build("corruption", spec.name, corruption, {**arguments, "severity": severity})
        for severity in SEVERITIES
    ]


def _about(part: type[Any]) -> str:
    return (part.__doc__ or "").strip().splitlines()[0]
