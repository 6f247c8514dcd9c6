"""The networks of `holdfast demo`."""

from __future__ import annotations

from holdfast.training.presets.base import Body, keep


def _demo() -> None:
    base: Body = {
        "data": {"name": "digits", "validation": None},
        "model": {"name": "small:cnn"},
        "protocol": {"kind": "scratch"},
        "train": {"epochs": 16, "batch_size": 64},
        "optimizer": {"kind": "adamw", "lr": 4e-3, "weight_decay": 5e-4, "decay_all": True},
        "schedule": {"kind": "onecycle"},
        "validate": {"train_n": 0},
    }
    ours = "Ours: trained in seconds, shipped with `holdfast demo`."
    keep("demo-plain", "a small network on handwritten digits", ours, base)
    keep(
        "demo-mixup",
        "the same with MixUp and small rotations and shifts",
        ours,
        base,
        {"augment": ["affine(degrees=10, shift=0.08)", "mixup(alpha=0.3)"]},
    )
    keep(
        "demo-noise",
        "the same with Gaussian noise",
        ours,
        base,
        {"augment": ["random_noise(sigma=0.4)"]},
    )
    keep(
        "demo-adversarial",
        "the same on adversarial images",
        ours,
        base,
        {
            "train": {
                "objective": "adversarial",
                "attack": "pgd(norm=linf, eps=0.15, steps=3)",
                "epochs": 12,
                "eps_schedule": "linear",
            }
        },
    )


_demo()
