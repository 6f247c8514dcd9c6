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
    "byobnet", "efficientnet", "metaformer", "maxxvit", "eva", "vision_transformer", "deit",
    "mlp_mixer", "cspnet", "nfnet", "hrnet", "beit", "senet", "mobilenetv3",
}  # fmt: skip
_RESNETS = ("resnet", "resnetv2", "senet", "sknet", "resnest", "res2net", "tresnet")
# Names with letters before the word that tells their family, such as gcresnext and cs3darknet.
_INSIDE = {
    "regnet": "regnet", "darknet": "darknet|edgenet", "resnet": "resne[tx]t?",
}  # fmt: skip
_SHORTER = (
    ("vision_transformer", "vit"), ("swin_transformer_v2", "swinv2"), ("swin_transformer", "swin"),
)  # fmt: skip
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
    "yfcc15m", "merged2b",
}  # fmt: skip
_METHODS = {  # words of tags
    "mae": "mae", "fcmae": "fcmae", "mim": "mim", "dino": "dino", "dinov3": "dinov3",
    "lvd142m": "dinov2", "lvd1689m": "dinov3", "sat493m": "dinov3", "ijepa": "ijepa",
    "seer": "seer", "swag": "weakly supervised", "wsl": "weakly supervised",
    "swsl": "semi-weakly supervised", "ssl": "semi-supervised", "ns": "noisy student",
    "sa1b": "segment anything",
}  # fmt: skip
# Parts of architectures and tags that name a method whatever else the tag says.
_ABOVE = (
    ("language", re.compile("qwen|gemma|pali|deepseek|florence|mobilenetv5|pe_lang")),
    ("multi-teacher", re.compile("radio|eupe")),  # AM-RADIO, EUPE: several models are imitated
    ("siglip", re.compile("siglip")),
    ("tips", re.compile("tipsv2")),
)
# Parts of architectures that name a method where the tag does not.
_BELOW = (
    ("clip", re.compile(r"_clip(_|$)|pe_core")),
    ("autoregressive", re.compile("^aimv2")),
    ("segment anything", re.compile("^sam2_|^samvit")),
    ("mim", re.compile(r"^(beit(v2|3)?|eva(02)?)_")),
)
_OBJECTIVES = {
    "clip": "contrastive", "siglip": "contrastive", "tips": "contrastive", "mae": "masked",
    "fcmae": "masked", "mim": "masked", "dino": "self-distillation",
    "dinov2": "self-distillation", "dinov3": "self-distillation", "ijepa": "joint embedding",
    "seer": "clustering", "language": "language", "autoregressive": "autoregressive",
    "segment anything": "segmentation", "multi-teacher": "distillation",
}  # fmt: skip
_IMPLIED = {  # data of methods that a tag does not name apart
    "dino": "in1k", "openai": "wit_400m", "fcmae": "in1k", "mae": "in1k", "swag": "instagram_3.6b",
    "seer": "instagram_1b", "metaclip2": "metaclip2_worldwide", "mclip": "datacompdr",
}  # fmt: skip
_LATER = ("ft", "lc")  # fine-tuned; a linear classifier upon frozen features
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
    """Read a name of timm, such as `vit_base_patch16_clip_224.laion2b_ft_in1k`.

    A name without a tag is that of its default weights; an old name (`adv_inception_v3`) is that
    of the tag that it became.
    """
    architecture, _, tag = full_name(name).partition(".")
    words = [word for word in tag.split("_") if word]
    first, later = _split(words)
    method: str | None = _method(architecture, first)
    data, followed = _named(first), _named(later)
    if not data:
        data = [_IMPLIED[word] for word in first if word in _IMPLIED][:1]
    if method == "supervised" and len(data) > 1:  # such as ssld_stage1_in22k_in1k
        data, followed = data[:1], [*data[1:], *followed]
    if method == "supervised" and not data:
        method = None
    return Origin(
        family=family(architecture),
        tag=tag,
        pretraining=method,
        pretraining_data=data[0] if data else None,
        fine_tuning_data=", ".join(followed) or None,
        objective=_objective(method, architecture, words) if method else None,
        flags=_unknown(tag, method, data),
    )


def full_name(name: str) -> str:
    """Architecture and tag that timm takes for a name: of an old name, or without a tag."""
    current = registry.get_deprecated_models().get(name) or name
    architecture, _, tag = current.partition(".")
    if tag or not registry.is_model(architecture):
        return current
    config = registry.get_pretrained_cfg(architecture)
    return f"{architecture}.{config.tag}" if config is not None and config.tag else architecture


def family(architecture: str) -> str:
    """Family of an architecture: timm's module, or a word of the name where that holds several."""
    module = registry._model_to_module.get(architecture, "")  # noqa: SLF001 - no public way
    plain = re.sub(r"^(tf|gluon|legacy|ssl|swsl|ig|eca|dm|nf|gc|test)_", "", architecture)
    word = re.match(r"[a-z]+?(?:v\d+)?(?=[_\d]|$)", plain)
    if module in _RESNETS:
        return module
    if module in ("byobnet", "cspnet"):
        inside = (name for name, part in _INSIDE.items() if re.search(part, plain))
        return next(inside, word[0] if word else plain)
    if (module in _MIXED or not module) and word:
        return word[0]
    for long, short in _SHORTER:
        module = module.replace(long, short)
    return module or plain


def _unknown(tag: str, method: str | None, data: Sequence[str]) -> tuple[str, ...]:
    said = f"The tag {tag!r}" if tag else "A name without a tag"
    if method is None:
        return (f"{said} does not say how and on which data it was trained.",)
    if not data:
        return (f"{said} does not say on which data it was trained.",)
    return ()


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of the first training, and of what followed."""
    place = next((i for i, word in enumerate(words) if word in _LATER), len(words))
    return list(words[:place]), [word for word in words[place:] if word not in _LATER]


def _named(words: Sequence[str]) -> list[str]:
    found = [word for word in words if _DATA.fullmatch(word)]
    return [_NAMES.get(word, word) for word in found]


def _method(architecture: str, words: Sequence[str]) -> str:
    text = "_".join([architecture, *words])
    for method, part in _ABOVE:
        if part.search(text):
            return method
    for word in words:
        if word in _METHODS:
            return _METHODS[word]
    if any(word in _CLIP for word in words):
        return "clip"
    return next((method for method, part in _BELOW if part.search(architecture)), "supervised")


def _objective(method: str, architecture: str, words: Sequence[str]) -> str:
    if method in _OBJECTIVES:
        return _OBJECTIVES[method]
    if any(word in _ADVERSARIAL for word in words):
        return "adversarial"
    if any(word in _DISTILLED for word in words) or "distilled" in architecture:
        return "distillation"
    return "classification"
