"""Which network a name in somebody's table means, of timm's and torchvision's, without guessing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from timm.models import _registry

from holdfast.models import timm_source, torchvision_source

TIMM, TORCHVISION = "timm:", "torchvision:"
_SPLIT = re.compile(r"[^0-9a-z]+")
# What words of a name say of training, see `Resolved.training`.
_WORDS: Sequence[tuple[str, str]] = (
    ("more data", "ssl swsl instagram ig wsl noisystudent ns jft jft300m 21k in21k imagenet21k"),
    ("more data", "imagenet22k in22k 11k imagenet11k ilsvrc2012 openimages tencent mlimages bit"),
    ("adversarial", "robust adv adversarial adversarially advprop denoise l2 linf pgd trades"),
    ("adversarial", "smoothing smoothed"),
    ("augmented", "augmix deepaugment autoaug autoaugment randaug randaugment cutmix cutout mixup"),
    (
        "augmented",
        "stylized sin brightness contrast fog frost greyscale jpeg spatter zoom pixelate",
    ),
    ("augmented", "saturate blur noise"),
    ("less training", "subsample epochs lstsq"),
    ("self-supervised", "simclr simclrv2 simsiam swav moco mocov2 byol dino rotation"),
    ("clip", "clip zeroshot siglip"),
    # Words that say nothing, but that the rest is no part of the network's name.
    ("", "trained pretrained finetuned baseline aws imagenet facebook google madrylab cadene"),
)
_TRAINING: Mapping[str, str] = {word: what for what, words in _WORDS for word in words.split()}
_DEPRECATED_PREFIX = {"swsl": "swsl", "ssl": "ssl", "instagram": "ig", "ig": "ig"}
_DEPRECATED_SUFFIX = {"noisystudent": "ns", "advprop": "ap"}
# Spellings of other projects: pattern -> ours, and what the spelling says of training.
_SPELLINGS: Sequence[tuple[re.Pattern[str], str, str]] = (
    # TensorFlow's networks and their ports; timm's own are written efficientnet_b0.
    (re.compile(r"^efficientnet-(b\d|l2)\b"), r"tf_efficientnet_\1", ""),
    (re.compile(r"^bit-m-r(\d+)x(\d)"), r"resnetv2_\1x\2_bit", "more data"),
    (re.compile(r"^bit-s-r(\d+)x(\d)"), r"resnetv2_\1x\2_bit", ""),
    (re.compile(r"^fix((?:efficient|res|pnas).*?)(?:_v2)?$"), r"\1", "test size changed"),
    (re.compile(r"(?<=\d)(cutmix)"), r"_\1", ""),
    (re.compile(r"^(.+)_lpf(\d)\b"), r"\1", "blur pools"),
)  # fmt: skip
_CLIP = frozenset(["clip"])
_SIZES = {"b": "base", "l": "large", "h": "huge"}
_CLIP_VIT = re.compile(r"^(?:clip[-_ ])?vit[-_]?(?P<size>[blh])[-_/]?(?P<patch>\d\d)(?P<rest>.*)$")


@dataclass(frozen=True)
class Resolved:
    """What a name means.

    Attributes:
        asked: The name in the table.
        model: As `holdfast explain anatomy` takes it; None where it is not known.
        how: In words: how it was found, or why not.
        recipe: What of the name tells about training and not about the network.
        training: What that means: `more data`, `adversarial`, `augmented`, `less training`,
            `self-supervised`, `clip`, `blur pools`, `test size changed`.
        exact: Whether the name says which weights, so that anatomy knows the training.
    """

    asked: str
    model: str | None
    how: str
    recipe: str = ""
    training: frozenset[str] = field(default_factory=frozenset)
    exact: bool = False


class Resolver:
    """Names of timm and torchvision, indexed by their spelling without marks and case."""

    def __init__(self) -> None:
        tagged = timm_source.names()
        self._timm = {name.partition(".")[0] for name in tagged} | set(_architectures())
        self._tagged = set(tagged)
        self._torchvision = set(torchvision_source.names())
        former = _registry._deprecated_models  # noqa: SLF001 - no public list
        self._old: dict[str, str] = {old: new for old, new in former.items() if new}
        self._squashed: dict[str, set[str]] = {}
        for name in self._timm:
            self._squashed.setdefault(_squash(name), set()).add(TIMM + name)
        for name in self._torchvision:
            self._squashed.setdefault(_squash(name), set()).add(TORCHVISION + name)
        legacy = [name for name in self._timm if name.startswith("legacy_")]
        for name in legacy:  # how timm calls older ports since it has its own
            self._squashed.setdefault(_squash(name.removeprefix("legacy_")), {TIMM + name})

    def resolve(self, name: str) -> Resolved:
        """Find what a name means; what could mean two networks stays unresolved.

        In this order: names with a source (`timm:...`, `FILE.py:...`) are taken as they are; exact
        names of timm, with and without a tag, today's and former ones; those of torchvision; the
        same without regard to case and marks; other projects' spellings; and names around which
        words tell of training, such as `resnet50_augmix`.
        """
        exact = self._exact(name)
        if exact is not None:
            return exact
        spelled, training = _spelled(name)
        found, why = self._loosely(spelled)
        if found is not None:
            return _named(name, found, "by its spelling", "", training)
        inner, recipe, among = self._within(spelled)
        if inner is None:
            return Resolved(name, None, among or why)
        words = recipe.split()
        told = {_TRAINING[word] for word in words if word in _TRAINING}
        old = self._former(inner, words)
        if old is not None:
            return Resolved(name, TIMM + old, f"{old} by its former name", recipe, exact=True)
        how = f"around it: {recipe}"
        return _named(name, inner, how, recipe, frozenset(told - {""}) | training)

    def _exact(self, name: str) -> Resolved | None:
        if ":" in name:
            return Resolved(name, name, "as it is named", exact="." in name)
        if name in self._tagged:
            return Resolved(name, TIMM + name, "timm's name", exact=True)
        if name in self._timm:
            return Resolved(name, TIMM + name, "timm's architecture, with its default weights")
        if name in self._old:
            return Resolved(name, TIMM + self._old[name], "timm's former name", exact=True)
        if name.partition(".")[0] in self._torchvision:
            return Resolved(name, TORCHVISION + name, "torchvision's name", exact="." in name)
        return None

    def _loosely(self, name: str) -> tuple[str | None, str]:
        if name in self._timm:
            return TIMM + name, ""
        known = self._squashed.get(_squash(name), set())
        ours = {one for one in known if one.startswith(TIMM)} or known
        if len(ours) == 1:
            return next(iter(ours)), ""
        if ours:
            return None, f"could be {' or '.join(sorted(ours))}"
        return None, "no network of timm or torchvision is called so"

    def _within(self, name: str) -> tuple[str | None, str, str]:
        """The longest run of words that is a network, where the others tell of training."""
        words = [word for word in _SPLIT.split(name.lower()) if word]
        for length in range(len(words) - 1, 0, -1):
            found = {}
            for start in range(len(words) - length + 1):
                around = [*words[:start], *words[start + length :]]
                if not any(word in _TRAINING for word in around):
                    continue
                known, why = self._loosely("_".join(words[start : start + length]))
                if known is None and why.startswith("could"):
                    return None, "", why
                if known is not None:
                    found[known] = " ".join(around)
            if len(found) == 1:
                return *next(iter(found.items())), ""
            if found:
                return None, "", f"could be {' or '.join(sorted(found))}"
        return None, "", ""

    def _former(self, network: str, words: Sequence[str]) -> str | None:
        """Weights that timm had under another name: `resnet50_swsl` was `swsl_resnet50`."""
        bare = network.removeprefix(TIMM)
        for word in words if len(words) == 1 else ():
            for old in (
                f"{_DEPRECATED_PREFIX.get(word, '')}_{bare}",
                f"{bare}_{_DEPRECATED_SUFFIX.get(word, '')}",
            ):
                if old in self._old:
                    return self._old[old]
        return None


def _named(asked: str, network: str, how: str, recipe: str, training: Iterable[str]) -> Resolved:
    bare = network.removeprefix(TIMM)
    return Resolved(asked, network, f"{bare} {how}", recipe, frozenset(training))


def _architectures() -> list[str]:
    return [str(name) for name in _registry.list_models()]


def _squash(name: str) -> str:
    return _SPLIT.sub("", name.lower())


def _spelled(name: str) -> tuple[str, frozenset[str]]:
    """A name as timm would write it, and what its spelling says of training."""
    lowered = name.lower()
    clip = _CLIP_VIT.match(lowered)
    if clip and "clip" in lowered:
        size, patch = _SIZES[clip["size"]], clip["patch"]
        return f"vit_{size}_patch{patch}_clip_224", _CLIP
    training = set()
    for pattern, written, meaning in _SPELLINGS:
        found = pattern.search(lowered)
        if found and (written or meaning):
            lowered = pattern.sub(written, lowered)
            training |= {meaning} - {""}
    return lowered, frozenset(training)
