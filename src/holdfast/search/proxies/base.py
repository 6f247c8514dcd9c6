"""What a proxy is: a number that an untrained network gives within a second.

A score is decided by the architecture, the seed and the images: weights are drawn from the seed
(see `run`), nothing from a global generator, and the network handed in is left as it was.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys, checked_seed, keys_for
from holdfast.core.registry import Registry
from holdfast.core.specs import (
    Value,
    build,
    canonical,
    format_spec,
    parse_spec,
    split_specs,
)
from holdfast.search.proxies._networks import calibrated

Need = Literal["images", "labels", "gradients"]
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with which untrained networks are looked at.

    Attributes:
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B], from 0.
        ids: What identifies the images, int64 [B]: their random numbers are keyed by it.
        seed: Of everything that a proxy draws.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    seed: int = 0
    _known: WeakKeyDictionary[nn.Module, dict[Any, Any]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        images, count = self.images, len(self.images)
        if images.dim() != 4 or not images.is_floating_point() or count == 0:
            shape = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            raise BadValueError(f"images must be float [B, C, H, W] with B above 0, got {shape}")
        if self.labels.shape != (count,) or self.ids.shape != (count,):
            raise BadValueError(
                f"{count} images need as many labels and ids, "
                f"got {list(self.labels.shape)} and {list(self.ids.shape)}"
            )
        if self.labels.dtype != torch.int64 or int(self.labels.min()) < 0:
            raise BadValueError("labels must be int64 and not below 0")

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Batch:
        """The first images; what is known of networks by these is kept with this batch."""
        if count >= len(self):
            return self
        parts = (self.images[:count], self.labels[:count], self.ids[:count])
        return self.once(_NO_NETWORK, ("first", count), lambda: Batch(*parts, self.seed))

    def keys(self, stream: str) -> Keys:
        """One random stream an image."""
        return keys_for(self.ids, seed=self.seed, stream=stream)

    def generator(self, stream: str) -> torch.Generator:
        """Numbers that belong to no image."""
        word = keys_for(torch.zeros(1, dtype=torch.int64), seed=self.seed, stream=stream)
        return torch.Generator().manual_seed(int(word.integers(0, 2**62, 1)))

    def once(self, network: nn.Module, key: Any, make: Callable[[], Found]) -> Found:
        """What several proxies of one network need is made once.

        Weights that were changed since make it anew.
        """
        known = self._known.setdefault(network, {})
        # Every change in place raises the version of a tensor.
        state = tuple((one.data_ptr(), one._version) for one in network.state_dict().values())  # noqa: SLF001
        if (key, state) not in known:
            known[key, state] = make()
        return known[key, state]


_NO_NETWORK = nn.Identity()  # under which a batch keeps its own parts


class Proxy(ABC):
    """A frozen dataclass of settings, registered by name.

    Attributes:
        about: One line: what it is, and the source.
        sign: +1 where a larger value promises a better network by its authors; -1 where a
            smaller one does.
        moment: When the network is looked at.
        needs: What it takes of a batch, and whether it differentiates.
        channels: Width of the networks it wants; None: that of the whole evaluation.
        cells: Cells of the networks it wants, or `Space.fewest_cells` where these are more; None:
            as the whole evaluation.
    """

    about: ClassVar[str]
    sign: ClassVar[Literal[1, -1]]
    moment: ClassVar[str] = "at initialisation"
    needs: ClassVar[frozenset[Need]] = frozenset()
    channels: int | None = None
    cells: int | None = None

    def score(self, network: nn.Module, batch: Batch) -> float:
        """Value of a network, which is left as it was; NaN where there is no finite one.

        Raises:
            BadValueError: A network or batch that this proxy cannot be asked about.
        """
        with torch.enable_grad():
            found = self._score(network, self._taken(batch))
        value = float(found.detach() if isinstance(found, Tensor) else found)
        return value if math.isfinite(value) else math.nan

    def _taken(self, batch: Batch) -> Batch:
        return batch

    @abstractmethod
    def _score(self, network: nn.Module, batch: Batch) -> float | Tensor:
        """Value, maybe not finite."""


@dataclass(frozen=True, kw_only=True)
class BatchProxy(Proxy):
    """A proxy that looks at images.

    Attributes:
        batch: Images looked at: the first of the batch that is given.
    """

    batch: int = 32

    def __post_init__(self) -> None:
        check_counts(self, "batch")

    def _taken(self, batch: Batch) -> Batch:
        if len(batch) < self.batch:
            raise BadValueError(
                f"{spec_of(self)} looks at {self.batch} images, got {len(batch)}: "
                "give more, or set batch lower"
            )
        return batch.first(self.batch)


def calibrated_for(network: nn.Module, batch: Batch) -> nn.Module:
    """A copy of one's own, normalizing by the statistics of the batch; see `calibrated`."""
    made = batch.once(network, "calibrated", lambda: calibrated(network, batch.images))
    return copy.deepcopy(made)


P = TypeVar("P", bound=type[Proxy])
PROXIES: Registry[type[Proxy]] = Registry("proxy")


def check_counts(part: Any, *names: str) -> None:
    """Refuse settings that are set and below 1.

    Raises:
        BadValueError: One is.
    """
    for name in names:
        value = getattr(part, name)
        if value is not None and value < 1:
            raise BadValueError(f"{name} must be 1 or more, got {value}")


def proxy(text: str) -> Proxy:
    """Proxy that `text` names, such as `snip` or `ntk_smallest(kernel=robust)`.

    Raises:
        UnknownNameError: No such proxy, or no such setting.
        BadValueError: A setting that the proxy refuses.
    """
    spec = parse_spec(text)
    settings: dict[str, Value] = dict(spec.arguments)
    return build("proxy", spec.name, PROXIES[spec.name], settings)


def spec_of(one: Proxy) -> str:
    """Canonical text of a proxy with its settings."""
    return canonical(PROXIES.name_of(type(one)), one)


def known_proxies() -> list[tuple[str, ...]]:
    """Every proxy in words: name, which values are better, usual batch, moment, needs, about."""
    return [(name, *_words(PROXIES[name])) for name in PROXIES]


def _words(kind: type[Proxy]) -> tuple[str, ...]:
    better = "larger" if kind.sign > 0 else "smaller"
    batch = str(getattr(kind, "batch", "")) or "any"
    needs = ", ".join(need for need in get_args(Need) if need in kind.needs)
    return better, batch, kind.moment, needs or "the network alone", kind.about


def short_name(text: str) -> str:
    """A proxy's text with only those settings that are not the default ones."""
    spec = parse_spec(text)
    usual = dict(parse_spec(spec_of(proxy(spec.name))).arguments)
    other = {key: value for key, value in spec.arguments if usual.get(key) != value}
    return format_spec(spec.name, other)


def parse_proxies(text: str) -> list[Proxy]:
    """Proxies of a comma-separated list, each once; `all` is `default_proxies`.

    Raises:
        UnknownNameError: No such proxy, or no such setting.
        BadValueError: A setting that a proxy refuses, or an empty list.
    """
    found: dict[str, Proxy] = {}
    for part in split_specs(text):
        for one in default_proxies() if part == "all" else [proxy(part)]:
            found[spec_of(one)] = one
    if not found:
        raise BadValueError(f"expected names of proxies, or all; known: {', '.join(PROXIES)}")
    return list(found.values())


def default_proxies() -> list[Proxy]:
    """Every proxy with its usual settings; of the tangent kernels, each kernel.

    The 13 of NAS-Bench-Suite-Zero (Krishnakumar et al. 2022), the two of Jung et al. 2023, linear
    regions and tangent kernels of TE-NAS and of Wu et al. 2024.
    """
    specs = [name for name in PROXIES if not name.startswith("ntk_")]
    kernels = ("clean", "robust", "twice", "all", "robust_all")
    specs += [
        f"{name}(kernel={kernel})"
        for name in PROXIES
        if name.startswith("ntk_")
        for kernel in kernels
    ]
    return [proxy(spec) for spec in specs]
