"""Self-supervised pretraining."""

from __future__ import annotations

from holdfast.training.presets.base import CELL, CIFAR_MEAN, CIFAR_STD, Body, keep


def _pretraining() -> None:
    base: Body = {
        "data": {"name": "cifar10", "validation": None},
        "model": {"name": CELL, "mean": CIFAR_MEAN, "std": CIFAR_STD},
        "protocol": {"kind": "scratch"},
        "train": {"epochs": 200, "batch_size": 256},
        "optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 1e-4},
        "schedule": {"kind": "cosine", "warmup": 5},
    }
    small: Body = {"smallest_crop": 0.2, "jitter": 0.5, "blur": 0.0}
    for name, title, paper in (
        ("barlow_twins", "Barlow Twins", "Zbontar et al. 2021, arXiv:2103.03230"),
        ("simclr", "SimCLR", "Chen et al. 2020, arXiv:2002.05709"),
        ("vicreg", "VICReg", "Bardes et al. 2022, arXiv:2105.04906"),
        ("dino", "DINO", "Caron et al. 2021, arXiv:2104.14294"),
    ):
        keep(
            f"{name.replace('_', '-')}-cifar10",
            f"self-supervised pretraining with {title}; no label is looked at",
            f"{paper}; views without blur and with weaker colors, for images of 32 pixels, and "
            "AdamW are our choice.",
            base,
            {"train": {"objective": name, **small}},
        )


_pretraining()
