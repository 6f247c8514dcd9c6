"""What an attack's condition says: a short name, and what two points of one curve share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from holdfast.core.errors import BadValueError
from holdfast.core.specs import Spec, format_spec, parse_spec, split_sum
from holdfast.report import numbers

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "apgd": "APGD",
        "apgd-ce": "APGD-CE",
        "apgd-dlr": "APGD-DLR",
        "apgd-t": "APGD-T",
        "autoattack": "AutoAttack",
        "ddn": "DDN",
        "fab": "FAB",
        "fab-t": "FAB-T",
        "fgsm": "FGSM",
        "fmn": "FMN",
        "pgd": "PGD",
        "square": "Square",
    }
)
NORMS: Mapping[str, str] = MappingProxyType({"linf": "Linf", "l2": "L2", "l1": "L1"})
# What a name stands for by itself; only other settings are written out beside it.
USUAL: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "apgd": {"steps": 100, "restarts": 1, "rho": 0.75, "targets": 9},
        "autoattack": {"version": "standard"},
        "ddn": {"steps": 100, "probes": 9, "init_norm": 1.0, "gamma": 0.05},
        "fab": {"steps": 100, "restarts": 1, "targets": 9},
        "fgsm": {"loss": "cross_entropy"},
        "fmn": {"steps": 100, "probes": 9, "step_size": 1.0, "gamma": 0.05},
        "pgd": {
            "random_start": True,
            "restarts": 1,
            "momentum": 0.0,
            "loss": "cross_entropy",
        },
        "square": {"queries": 5000, "p_init": 0.8, "restarts": 1, "loss": "margin"},
    }
)
_APGD_LOSSES = {"cross_entropy": "apgd-ce", "dlr": "apgd-dlr", "targeted_dlr": "apgd-t"}


@dataclass(frozen=True)
class AttackText:
    """An attack's condition, read.

    Attributes:
        name: Short, without norm and eps, such as `PGD-40 + Square`; whatever is set in an
            unusual way stands in it, so that different attacks have different names.
        curve: Canonical text without eps and the radii before it.
        after: Smaller radii that were tried first, ascending.
    """

    name: str
    curve: str
    after: tuple[float, ...] = ()


def read_attack(spec: str) -> AttackText:
    """Read the text of one attack, of several joined by plus signs, or of a transferred one."""
    joined, mark, source = spec.partition(" from ")
    try:
        parts = [parse_spec(part) for part in split_sum(joined)]
    except BadValueError:
        return AttackText(spec, spec)
    origin = f"{mark}{source}"
    kept = [_without_radii(part) for part in parts]
    after = dict(parts[0].arguments).get("after", ()) if parts else ()
    return AttackText(
        name=" + ".join(_short(name, arguments) for name, arguments in kept)
        + (f" from {numbers.shortened(source)}" if mark else ""),
        curve=" + ".join(format_spec(name, arguments) for name, arguments in kept) + origin,
        after=tuple(
            float(radius)
            for radius in (after if isinstance(after, tuple) else (after,))
            if not isinstance(radius, str)
        ),
    )


def member_name(short: str) -> str:
    """Name of an ensemble's attack as people write it: `apgd-t` is APGD-T, `pgd-2` PGD 2."""
    if short in _NAMES:
        return _NAMES[short]
    base, _, place = short.rpartition("-")
    return f"{_NAMES[base]} {place}" if base in _NAMES and place.isdigit() else short


def norm_name(norm: str) -> str:
    """Name of a norm: Linf, L2, L1."""
    return NORMS.get(norm, norm)


def _without_radii(part: Spec) -> tuple[str, dict[str, Any]]:
    arguments = dict(part.arguments)
    return part.name, {key: arguments[key] for key in arguments if key not in ("eps", "after")}


def _short(name: str, arguments: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in arguments.items() if key != "norm"}
    text = _NAMES.get(name, name)
    if name == "apgd" and rest.get("loss") in _APGD_LOSSES:
        text = _NAMES[_APGD_LOSSES[rest.pop("loss")]]
    elif name == "autoattack" and rest.get("version") in ("plus", "rand"):
        text += f" {rest.pop('version')}"
    elif name == "fab" and "targets" in rest:
        text = _NAMES["fab-t"]
    elif name == "pgd" and "steps" in rest:
        text += f"-{rest.pop('steps')}"
    usual = USUAL.get(name, {})
    unusual = [f"{k}={v}" for k, v in rest.items() if k not in usual or usual[k] != v]
    return f"{text} ({', '.join(unusual)})" if unusual else text
