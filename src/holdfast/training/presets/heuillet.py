"""Robust fine-tuning of Heuillet et al. 2025."""

from __future__ import annotations

from holdfast.training.presets.base import Body, keep

_APGD = "apgd(norm=linf, eps=4/255, steps=10, random_start=False)"


def _heuillet() -> None:
    source = (
        "Heuillet et al. 2025, arXiv:2508.14079, and its code: APGD on cross-entropy inside, "
        "AdamW, batches of 1,024 by accumulation, the hyper-parameters that their search chose "
        "most often; mixed precision is bfloat16 here. "
    )
    base: Body = {
        "data": {
            "name": "pets",
            "split": "train",
            "validation": "validation",
            "size": 224,
            "resize": "squash",
        },
        "model": {"name": "backbone:convnext_tiny.fb_in22k"},
        "augment": [
            "flip",
            "color_jitter(brightness=0.25, contrast=0.25, saturation=0.25)",
            "rotation(degrees=2)",
        ],
        "train": {"batch_size": 1024, "micro_batch": 48, "precision": "bfloat16"},
        "optimizer": {
            "kind": "adamw",
            "lr": 1.2165e-4,
            "head_lr": 3.996e-3,
            "weight_decay": 1.001e-6,
            "head_weight_decay": 1.619e-5,
            "betas": [0.9, 0.95],
        },
        "schedule": {"kind": "constant"},
    }
    probe: Body = {
        "protocol": {"kind": "linear_probe"},
        "optimizer": {"head_lr": 1.2165e-4, "head_weight_decay": 7.608e-4},
    }
    losses: dict[str, tuple[str, Body]] = {
        "cat": ("classic adversarial training", {"objective": "adversarial", "attack": _APGD}),
        "trades": ("TRADES with beta 1", {"objective": "trades", "beta": 1.0, "attack": _APGD}),
    }
    for loss, (about, train) in losses.items():
        for protocol, epochs, more in (("fft5", 5, {}), ("fft50", 50, {}), ("lp50", 50, probe)):
            kind = "linear probe" if protocol == "lp50" else "full fine-tuning"
            keep(
                f"heuillet-{protocol}-{loss}",
                f"{kind}, {epochs} epochs, {about} at Linf 4/255",
                source,
                base,
                more,
                {"train": {**train, "epochs": epochs}},
            )


_heuillet()
