"""Where a model of timm comes from: its family, and what its tag says of its training.

A tag is read word by word (`fcmae_ft_in22k_in1k`): words of data sets and of methods, with what
stands after `ft` as what followed. A word that says neither names a recipe. What a tag does not
say stays unknown: no name is looked up in a list of models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from timm.models import _registry as registry

_MIXED = {  # modules of timm that hold several families, which the names tell apart
    "byobnet", "byoanet", "efficientnet", "metaformer", "maxxvit", "eva", "vision_transformer",
    "deit", "mlp_mixer", "cspnet", "nfnet", "hrnet", "beit", "senet", "lcnetv2", "mobilenetv3",
}  # fmt: skip
_RESNETS = ("resnet", "resnetv2", "senet", "sknet", "resnest", "res2net", "tresnet")
_DATA = re.compile(
    r"in1k|in12k|in21k|in22k|inw21k|laion2b|laion400m|laiona|webli|datacompxl|datacomp1b|"
    r"dfn2b|dfn5b|dfndr2b|merged2b|lvd142m|lvd1689m|sat493m|yfcc100m|yfcc15m|ig1b|jft|cc12m|"
    r"sa1b|m30m|m38m|2pt5b|400m|bamboo"
)
_NAMES = {
    "in21k": "in22k", "laiona": "laion_aesthetic", "2pt5b": "metaclip_2.5b",
    "400m": "metaclip_400m", "datacomp1b": "datacomp_1b", "datacompxl": "datacomp_xl",
}  # fmt: skip
_CLIP = {
    "openai", "clip", "metaclip", "metaclip2", "dfn2b", "dfn5b", "dfndr2b", "datacompxl",
    "datacomp1b", "laion2b", "laion400m", "laiona", "mclip", "mclip2", "tinyclip", "cc12m",
    "yfcc15m",
}  # fmt: skip
_METHODS = {
    "mae": "mae", "fcmae": "fcmae", "mim": "mim", "dino": "dino", "dinov3": "dinov3",
    "lvd142m": "dinov2", "lvd1689m": "dinov3", "sat493m": "dinov3", "ijepa": "ijepa",
    "seer": "seer", "merged2b": "clip", "swag": "weakly supervised", "wsl": "weakly supervised",
    "swsl": "semi-weakly supervised", "ssl": "semi-supervised", "ns": "noisy student",
    "webli": "siglip", "sa1b": "segment anything",
}  # fmt: skip
_LANGUAGE = ("qwen", "gemma", "pali", "deepseek", "florence", "radio", "eupe", "mobilenetv5")
_OBJECTIVES = {
    "clip": "contrastive", "siglip": "contrastive", "mae": "masked", "fcmae": "masked",
    "mim": "masked", "dino": "self-distillation", "dinov2": "self-distillation",
    "dinov3": "self-distillation", "ijepa": "joint embedding", "seer": "clustering",
    "language": "language", "segment anything": "segmentation",
}  # fmt: skip
_IMPLIED = {
    "dino": "in1k", "openai": "wit_400m", "fcmae": "in1k", "mae": "in1k", "swag": "instagram_3.6b",
    "seer": "instagram_1b", "metaclip2": "metaclip2_worldwide", "mclip": "dfndr2b",
}  # fmt: skip
_DISTILLED = ("dist", "distilled", "ssld")
_ADVERSARIAL = ("ap", "adv")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Columns of an anatomy that come from a name.

    Attributes:
        family: Of architectures.
        tag: What follows the dot; empty without one.
        pretraining: Method of the first training: supervised, clip, siglip, mae, dino, ...
        pretraining_data: Of that training; None where the tag does not say.
        fine_tuning_data: Of what followed, joined by `, `; None where nothing did.
        objective: Of the first training: classification, distillation, adversarial,
            contrastive, masked, self-distillation, ...
        flags: What is not known.
    """

    family: str
    tag: str
    pretraining: str | None
    pretraining_data: str | None
    fine_tuning_data: str | None
    objective: str | None
    flags: tuple[str, ...] = ()


def origin(name: str) -> Origin:
    """Read a name of timm, such as `vit_base_patch16_clip_224.laion2b_ft_in1k`."""
    architecture, _, tag = name.partition(".")
    words = [word for word in tag.split("_") if word]
    first, later = _split(words)
    method: str | None = _method(architecture, first)
    data = _named(first)
    if not data:
        data = [_IMPLIED[word] for word in first if word in _IMPLIED][:1]
    followed = _named(later)
    if method == "supervised" and len(data) > 1:  # such as ssld_stage1_in22k_in1k
        data, followed = data[:1], [*data[1:], *followed]
    flags: tuple[str, ...] = ()
    if method == "supervised" and not data:
        method = None
    if not data:
        said = f"the tag {tag!r}" if tag else "a name without a tag"
        flags = (f"{said[0].upper()}{said[1:]} does not say on which data it was trained.",)
    return Origin(
        family=family(architecture),
        tag=tag,
        pretraining=method,
        pretraining_data=data[0] if data else None,
        fine_tuning_data=", ".join(followed) or None,
        objective=_objective(method, architecture, words) if method else None,
        flags=flags,
    )


def family(architecture: str) -> str:
    """Family of an architecture: timm's module, or the first word where that holds several."""
    module = registry._model_to_module.get(architecture, "")  # noqa: SLF001 - no public way
    plain = re.sub(r"^(tf|gluon|legacy|ssl|swsl|ig|eca|dm|nf|gc|test)_", "", architecture)
    word = re.match(r"[a-z]+?(?:v\d+)?(?=[_\d]|$)", plain)
    if module in _RESNETS or not module:
        return module or (word[0] if word else plain)
    if module in _MIXED and word:
        return word[0]
    return module


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of the first training, and of what followed."""
    if "ft" not in words:
        return list(words), []
    place = words.index("ft")
    return list(words[:place]), [word for word in words[place + 1 :] if word != "ft"]


def _named(words: Sequence[str]) -> list[str]:
    found = [word for word in words if _DATA.fullmatch(word)]
    return [_NAMES.get(word, word) for word in found]


def _method(architecture: str, words: Sequence[str]) -> str:
    text = "_".join([architecture, *words])
    if any(part in text for part in _LANGUAGE):
        return "language"
    if "siglip" in architecture:
        return "siglip"
    for word in words:
        if word in _METHODS and word != "webli":
            return _METHODS[word]
    if any(word in _CLIP for word in words) or "_clip_" in f"{architecture}_":
        return "clip"
    if "webli" in words:
        return "siglip"
    # BEiT and its kin are pretrained by masked images, whatever their tag says.
    return "mim" if re.match(r"beit(v2)?_", architecture) else "supervised"


def _objective(method: str, architecture: str, words: Sequence[str]) -> str:
    if method in _OBJECTIVES:
        return _OBJECTIVES[method]
    if any(word in _ADVERSARIAL for word in words) or architecture.startswith(("adv_", "ens_adv_")):
        return "adversarial"
    if any(word in _DISTILLED for word in words) or "distilled" in architecture:
        return "distillation"
    return "classification"
