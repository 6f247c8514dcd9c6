"""What a condition's text says: which corruption or attack, how strong, and whether standard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.core.errors import BadValueError
from holdfast.core.specs import parse_spec, split_sum
from holdfast.report import numbers
from holdfast.report.attack_text import AttackText, norm_name, read_attack

CLEAN = "clean"
SEVERITIES = (1, 2, 3, 4, 5)

# Hendrycks and Dietterich 2019, arXiv:1903.12261: the 15 corruptions in their four groups.
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
        "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        "weather": ("snow", "frost", "fog", "brightness"),
        "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    }
)
STANDARD = tuple(name for group in GROUPS.values() for name in group)
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # their validation corruptions
STANDARD_COUNT = len(STANDARD) * len(SEVERITIES)


@dataclass(frozen=True)
class Condition:
    """One condition that was measured; equal text means equal condition."""

    spec: str
    family: str  # clean | corruption | noise | attack | shift
    name: str
    severity: int | None  # of a corruption in its default form, else None
    sigma: float | None  # of the noise sweep, pixel units of [0, 1], else None
    eps: float | None = None  # of an attack; None where it seeks the smallest perturbation
    norm: str | None = None
    attack: AttackText | None = None

    @property
    def is_other(self) -> bool:
        """Whether it is neither clean nor an attack nor part of the two grids of figures."""
        gridded = self.severity is not None or self.sigma is not None
        return self.spec != CLEAN and not gridded and self.attack is None

    @property
    def title(self) -> str:
        """Words for a menu, such as `fog, severity 3` or `AutoAttack Linf 8/255`."""
        if self.attack is not None:
            return f"{self.attack.name} {self.threat}"
        if self.severity is not None:
            return f"{words(self.name)}, severity {self.severity}"
        if self.sigma is not None:
            return f"Gaussian noise, sigma {self.sigma:g}"
        return self.spec

    @property
    def threat(self) -> str:
        """Norm and radius of an attack, such as `Linf 8/255`."""
        norm = self.norm or ""
        radius = "smallest norm" if self.eps is None else numbers.radius(self.eps, norm)
        return f"{norm_name(norm)} {radius}"

    @property
    def order(self) -> tuple[int, str, float, str]:
        """Where it stands in a list: clean, noise, corruptions, attacks, the rest."""
        if self.spec == CLEAN:
            return (0, "", 0.0, "")
        if self.sigma is not None:
            return (1, "", self.sigma, "")
        if self.severity is not None:
            return (2, f"{_place(self.name):02d}", float(self.severity), self.name)
        if self.attack is not None:
            return (3, f"{self.norm} {self.attack.curve}", self.eps or 0.0, self.spec)
        return (4, self.name, 0.0, self.spec)


def read_condition(row: Mapping[str, object]) -> Condition:
    """Read the condition of a measurement row.

    A variant such as `elastic_transform(severity=3, variant=imagecorruptions)` has neither a
    severity nor a sigma here: it must not be averaged with the standard ones.
    """
    spec, family = str(row["condition"]), str(row["family"])
    try:
        parsed = parse_spec(spec)
    except BadValueError:
        name, arguments = spec, {}  # a shifted data set may be called anything
    else:
        name, arguments = parsed.name, dict(parsed.arguments)
    severity, sigma = arguments.get("severity"), arguments.get("sigma")
    alone = len(arguments) == 1
    eps, norm = row.get("eps"), row.get("norm")
    return Condition(
        spec=spec,
        family=family,
        name=name,
        severity=severity
        if alone and family == "corruption" and isinstance(severity, int)
        else None,
        sigma=float(sigma)
        if alone and name == "gaussian_noise" and isinstance(sigma, int | float)
        else None,
        eps=float(eps) if isinstance(eps, int | float) else None,
        norm=str(norm) if norm is not None else None,
        attack=read_attack(spec) if family == "attack" and norm is not None else None,
    )


def condition_title(spec: str) -> str:
    """Title of the text of a condition, also of an attack at several eps: `PGD-5 Linf 2/255 to ..`.

    The whole text where it cannot be read.
    """
    try:
        parts = [parse_spec(part) for part in split_sum(spec.partition(" from ")[0])]
    except BadValueError:
        return spec
    arguments = dict(parts[0].arguments)
    eps, norm = arguments.get("eps"), arguments.get("norm")
    radii = eps if isinstance(eps, tuple | list) else (eps,)
    family = "corruption" if norm is None else "attack"
    first, *_, last = [
        read_condition(
            {
                "condition": spec,
                "family": family,
                "eps": None if radius is None or isinstance(radius, str) else float(radius),
                "norm": norm,
            }
        )
        for radius in (*radii, radii[-1])
    ]
    if last.eps == first.eps:
        return first.title
    return f"{first.title} to {numbers.radius(last.eps or 0.0, last.norm or '')}"


def words(name: str) -> str:
    """A corruption's name without underscores; JPEG keeps its capitals."""
    return name.replace("_", " ").replace("jpeg", "JPEG").replace("gaussian", "Gaussian")


def _place(name: str) -> int:
    known = (*STANDARD, *EXTRA)
    return known.index(name) if name in known else len(known)
