"""Plain fine-tuning."""

from __future__ import annotations

from holdfast.training.presets.base import Body, keep


def _fine_tuning() -> None:
    base: Body = {
        "data": {"name": "pets", "split": "train", "validation": "validation"},
        "model": {"name": "timm:tf_efficientnet_lite0"},
        "augment": ["random_resized_crop(min_scale=0.5)", "flip"],
        "train": {"epochs": 20, "batch_size": 64},
        "optimizer": {"kind": "adamw", "lr": 1e-4, "head_lr": 1e-3, "weight_decay": 0.05},
        "schedule": {"kind": "cosine", "warmup": 1},
    }
    ours = "Our own choice of customary settings; "
    keep("full-ft", "plain full fine-tuning", ours + "a tenth of the rate for the backbone.", base)
    keep(
        "linear-probe",
        "only the last layer learns",
        ours + "the backbone stays in evaluation mode.",
        base,
        {"protocol": {"kind": "linear_probe"}},
    )
    keep(
        "lp-ft",
        "linear probe first, then the whole network",
        ours + "protocol: Kumar et al. 2022, arXiv:2202.10054.",
        base,
        {"protocol": {"kind": "lp_ft", "probe_epochs": 10}},
    )


_fine_tuning()
