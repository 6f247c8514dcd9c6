"""Covariate shift on PathMNIST, Wirojwatanakul et al."""

from __future__ import annotations

from holdfast.training.presets.base import Body, keep

_TEAM34: Body = {
    "data": {"name": "pathmnist", "validation": "validation", "size": 28},
    "model": {"name": "torchvision:resnet18"},
    "train": {"epochs": 60, "batch_size": 256},
    "optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 1e-6, "decay_all": True},
    "schedule": {"kind": "constant"},
    "validate": {"n": 10_004, "attack": None},
    "seed": 1598,
}
_TEAM34_SCRATCH: Body = {
    "model": {
        "mean": [0.740545, 0.53298219, 0.70582885],
        "std": [0.1237, 0.1768, 0.1244],
    },
    "protocol": {"kind": "scratch"},
}
_TEAM34_AUGMENT: Body = {
    "augment": ["flip(p=0.4)", "vertical_flip(p=0.4)", "rotation(degrees=20, p=0.4)"]
}
_TEAM34_MIXUP: Body = {"augment": [*_TEAM34_AUGMENT["augment"], "mixup(alpha=0.3)"]}


def _team34() -> None:
    source = (
        "Wirojwatanakul et al., section on PathMNIST and their code: ResNet-18 on images of 28 "
        "pixels, batch 256, the checkpoint of the best validation accuracy. "
    )
    rate = "From scratch their code always trains with a rate of 1e-3, whatever it was told."
    keep(
        "team34-basic",
        "ResNet-18 from scratch, no augmentation",
        source + rate,
        _TEAM34,
        _TEAM34_SCRATCH,
        {"train": {"epochs": 80}},
    )
    keep(
        "team34-mixup",
        "the same with flips, rotations and MixUp",
        source + rate,
        _TEAM34,
        _TEAM34_SCRATCH,
        _TEAM34_MIXUP,
    )
    keep(
        "team34-pretrained",
        "ImageNet weights, MixUp, batch normalization frozen",
        source + "Here batch normalization stays frozen; theirs thaws after the first epoch.",
        _TEAM34,
        _TEAM34_MIXUP,
        {
            "protocol": {"kind": "full", "freeze_bn": True},
            "optimizer": {"lr": 5e-5, "head_lr": 5e-4},
        },
    )


_team34()
