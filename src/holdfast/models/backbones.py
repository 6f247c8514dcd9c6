"""The 40 pretrained backbones of Heuillet et al. 2025 (arXiv:2508.14079): `backbone:ID`.

Each is built by the source its `spec` names; what they do before the network replaces that
source's preprocessing: every picture squashed to 224 x 224 pixels (bilinear), then CLIP's mean and
deviation where the id says laion and ImageNet's for all others, also where the network was
pretrained with others (AugReg, EVA02, CoAtNet, MobileViT).

Ids, sizes, types, strategies and pretraining data are those of their result table. Where we differ:

* They take `efficientnet-b0` and `mobilevit-small` from the transformers library. Here they are
  timm's networks of the same architecture: `tf_efficientnet_b0.aa_in1k`, whose published accuracy
  is that of the file they load (that the weights are the same is not verified), and
  `mobilevit_s.cvnets_in1k`, converted from the same checkpoint, with the channels in the order RGB
  where theirs reads BGR.
* The five robust ones have no weights that a library could fetch; `checkpoint` says where the file
  is, and it is given as weights (`--weights FILE`). The authors renamed the keys of those files to
  timm's and dropped the normalization inside; so must be done before they fit.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from holdfast.core.errors import MissingError, unknown_name
from holdfast.models.loading import Built, Request
from holdfast.models.preprocessing import Preprocessing

Size = Literal["small", "medium", "large"]
Type = Literal["convolutional", "attention", "hybrid"]
Strategy = Literal[
    "supervised",
    "supervised (multistep)",
    "supervised (robust)",
    "self-supervised",
    "self-supervised (multimodal)",
    "fusion",
]

_SIDE = 224
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_SOURCES = {"timm": "holdfast.models.timm_source", "open_clip": "holdfast.models.open_clip_source"}
_SINGH = (
    "a file of Singh et al. 2023, arXiv:2303.01870, linked at github.com/nmndeep/revisiting-at "
    "(Linf 4/255; without convolutional stem)"
)
_MADRY = "imagenet_linf_4.pt of github.com/MadryLab/robustness (Linf 4/255)"


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        id: The authors' name.
        spec: Model spec that builds it.
        size: By parameters: small below 20 million, medium below 50, large from there; theirs,
            which has EVA02-tiny with 5.5 million as medium.
        type: Of the architecture.
        strategy: Of the pretraining.
        data: Of the pretraining; in1k, in12k, in22k are ImageNet's sets.
        checkpoint: Where a weights file is to be had; empty where the source fetches it.
    """

    id: str
    spec: str
    size: Size
    type: Type
    strategy: Strategy
    data: str
    checkpoint: str = ""

    @property
    def preprocessing(self) -> Preprocessing:
        """What the authors do before the network."""
        mean, std = _CLIP if "laion" in self.id else _IMAGENET
        return Preprocessing(
            input_size=(_SIDE, _SIDE),
            mean=mean,
            std=std,
            interpolation="bilinear",
            resize="squash",
        )


def _timm(name: str, size: Size, kind: Type, strategy: Strategy, data: str) -> Backbone:
    return Backbone(name, f"timm:{name}", size, kind, strategy, data)


def _clip(name: str, tag: str, data: str) -> Backbone:
    spec = f"open_clip:convnext_base_w/{tag}"
    return Backbone(name, spec, "large", "convolutional", "self-supervised (multimodal)", data)


def _robust(architecture: str, size: Size, kind: Type, checkpoint: str = _SINGH) -> Backbone:
    name, spec = f"robust_{architecture}", f"timm:{architecture}"
    return Backbone(name, spec, size, kind, "supervised (robust)", "in1k", checkpoint)


_PLAIN: Strategy = "supervised"
_STEPS: Strategy = "supervised (multistep)"
_SELF: Strategy = "self-supervised"
_MULTIMODAL: Strategy = "self-supervised (multimodal)"

_ROWS = (
    _timm("coat_tiny.in1k", "small", "hybrid", _PLAIN, "in1k"),
    _timm("deit_tiny_patch16_224.fb_in1k", "small", "attention", _PLAIN, "in1k"),
    _timm("edgenext_small.usi_in1k", "small", "hybrid", _PLAIN, "in1k"),
    Backbone(
        "efficientnet-b0",
        "timm:tf_efficientnet_b0.aa_in1k",
        "small",
        "convolutional",
        _PLAIN,
        "in1k",
    ),
    _timm("mobilenetv3_large_100.ra_in1k", "small", "convolutional", _PLAIN, "in1k"),
    Backbone("mobilevit-small", "timm:mobilevit_s.cvnets_in1k", "small", "hybrid", _PLAIN, "in1k"),
    _timm("regnetx_004.pycls_in1k", "small", "convolutional", _PLAIN, "in1k"),
    _timm("coatnet_0_rw_224.sw_in1k", "medium", "hybrid", _PLAIN, "in1k"),
    _timm("convnext_tiny.fb_in1k", "medium", "convolutional", _PLAIN, "in1k"),
    _timm("convnext_tiny.fb_in22k", "medium", "convolutional", _PLAIN, "in22k"),
    _timm("convnext_tiny.fb_in22k_ft_in1k", "medium", "convolutional", _STEPS, "in22k+in1k"),
    _timm("deit_small_patch16_224.fb_in1k", "medium", "attention", _PLAIN, "in1k"),
    _timm("eva02_tiny_patch14_224.mim_in22k", "medium", "attention", _SELF, "in22k"),
    _timm("resnet50.a1_in1k", "medium", "convolutional", _PLAIN, "in1k"),
    _robust("convnext_tiny", "medium", "convolutional"),
    _robust("deit_small_patch16_224", "medium", "attention"),
    _robust("resnet50", "medium", "convolutional", _MADRY),
    _timm("swin_tiny_patch4_window7_224.ms_in1k", "medium", "attention", _PLAIN, "in1k"),
    _timm("vit_small_patch16_224.augreg_in1k", "medium", "attention", _PLAIN, "in1k"),
    _timm("vit_small_patch16_224.augreg_in21k", "medium", "attention", _PLAIN, "in22k"),
    _timm(
        "vit_small_patch16_224.augreg_in21k_ft_in1k", "medium", "attention", _STEPS, "in22k+in1k"
    ),
    _timm("vit_small_patch16_224.dino", "medium", "attention", _SELF, "in1k"),
    _clip("CLIP-convnext_base_w-laion2B-s13B-b82K", "laion2b_s13b_b82k", "laion2B"),
    _clip(
        "CLIP-convnext_base_w-laion_aesthetic-s13B-b82K",
        "laion_aesthetic_s13b_b82k",
        "laion_aesthetic",
    ),
    _timm("coatnet_2_rw_224.sw_in12k", "large", "hybrid", _PLAIN, "in12k"),
    _timm("coatnet_2_rw_224.sw_in12k_ft_in1k", "large", "hybrid", _STEPS, "in12k+in1k"),
    _timm(
        "convnext_base.clip_laion2b_augreg_ft_in12k_in1k",
        "large",
        "convolutional",
        "fusion",
        "laion2b+in12k+in1k",
    ),
    _timm("convnext_base.fb_in1k", "large", "convolutional", _PLAIN, "in1k"),
    _timm("convnext_base.fb_in22k", "large", "convolutional", _PLAIN, "in22k"),
    _timm("convnext_base.fb_in22k_ft_in1k", "large", "convolutional", _STEPS, "in22k+in1k"),
    _timm("eva02_base_patch14_224.mim_in22k", "large", "attention", _SELF, "in22k"),
    _robust("convnext_base", "large", "convolutional"),
    _robust("vit_base_patch16_224", "large", "attention"),
    _timm(
        "swin_base_patch4_window7_224.ms_in22k_ft_in1k", "large", "attention", _STEPS, "in22k+in1k"
    ),
    _timm("vit_base_patch16_224.augreg_in1k", "large", "attention", _PLAIN, "in1k"),
    _timm("vit_base_patch16_224.augreg_in21k", "large", "attention", _PLAIN, "in22k"),
    _timm("vit_base_patch16_224.augreg_in21k_ft_in1k", "large", "attention", _STEPS, "in22k+in1k"),
    _timm("vit_base_patch16_224.mae", "large", "attention", _SELF, "in1k"),
    _timm("vit_base_patch16_clip_224.laion2b", "large", "attention", _MULTIMODAL, "laion2B"),
    _timm(
        "vit_base_patch16_clip_224.laion2b_ft_in1k", "large", "attention", "fusion", "laion2b+in1k"
    ),
)
BACKBONES: Mapping[str, Backbone] = MappingProxyType({row.id: row for row in _ROWS})


def backbone(name: str) -> Backbone:
    """Row of the table.

    Raises:
        UnknownNameError: No backbone has this id.
    """
    if name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    return BACKBONES[name]


def names() -> list[str]:
    """Ids, in the order of the table."""
    return list(BACKBONES)


def notes() -> list[tuple[str, str]]:
    """Ids with what they are."""
    return [(row.id, f"{row.size}, {row.type}, {row.strategy} on {row.data}") for row in _ROWS]


def knows(name: str) -> bool:
    """Whether a backbone has this id."""
    return name in BACKBONES


def build(request: Request) -> Built:
    """Build `backbone:ID` through the source of its spec; pretrained unless a file is given.

    Raises:
        UnknownNameError: No such backbone.
        MissingError: The weights are neither cached nor reachable, or must be given as a file.
        BadValueError: The weights do not fit, or they hold no classifier and no classes were
            asked for.
    """
    chosen = backbone(request.name)
    if chosen.checkpoint and request.weights is None and request.pretrained:
        raise MissingError(
            f"{request.spec} needs {chosen.checkpoint}, its keys named as those of {chosen.spec}; "
            "give it with --weights FILE"
        )
    prefix, _, name = chosen.spec.partition(":")
    source: Any = importlib.import_module(_SOURCES[prefix])
    built: Built = source.build(replace(request, spec=chosen.spec, name=name))
    return replace(built, preprocessing=chosen.preprocessing)
