"""Published settings by name: where they come from, and in what they differ.

A preset is a whole recipe: data and network are an example, to be replaced on the command line
(`data.name=folder:photos model.name=timm:resnet50`).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from holdfast.core.registry import Registry

Body = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A recipe with a name.

    Attributes:
        name: What people type.
        about: One line.
        source: Where the settings are published, and how this differs.
        sections: As in a YAML file; `body` gives a copy.
    """

    name: str
    about: str
    source: str
    sections: Mapping[str, Any]

    @property
    def body(self) -> Body:
        """Sections, free to be changed."""
        return deepcopy(dict(self.sections))


PRESETS: Registry[Preset] = Registry("preset")


def preset(name: str) -> Preset:
    """Preset of that name.

    Raises:
        UnknownNameError: There is none; the message names near ones.
    """
    return PRESETS[name]


def _keep(name: str, about: str, source: str, *layers: Body) -> None:
    body: Body = {}
    for layer in layers:
        for key, value in layer.items():
            merged = {**body[key], **value} if isinstance(body.get(key), dict) else value
            body[key] = merged
    PRESETS.register(name)(Preset(name, about, source, body))


_CELL = "nb201:|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
# In pixels of [0, 1]; the customary statistics of the training set.
_CIFAR_MEAN, _CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]
_PGD10 = "pgd(norm=linf, eps=8/255, steps=10, step_size=2/255)"

_CIFAR: Body = {
    "data": {"name": "cifar10", "validation": 0.02},
    "model": {"name": _CELL, "mean": _CIFAR_MEAN, "std": _CIFAR_STD},
    "protocol": {"kind": "scratch"},
    "augment": ["crop(padding=4)", "flip"],
    "train": {"epochs": 100, "batch_size": 128},
    "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    "schedule": {"kind": "step", "milestones": [75, 90], "every": "epoch"},
    "validate": {"n": 1000},
}


def _cifar() -> None:
    _keep(
        "plain-cifar10",
        "plain training, to compare with",
        "Customary settings of residual networks on CIFAR-10.",
        _CIFAR,
        {"schedule": {"kind": "cosine", "every": "step"}},
    )
    _keep(
        "classic-at",
        "adversarial training with PGD-10 at Linf 8/255",
        "Madry et al. 2018, arXiv:1706.06083; steps and schedule as TRADES' code, by whose "
        "settings later papers compare.",
        _CIFAR,
        {"train": {"objective": "adversarial", "attack": _PGD10}},
    )
    _keep(
        "trades",
        "TRADES with beta 6",
        "Zhang et al. 2019, arXiv:1901.08573, section 5; eps 8/255 and steps of 2/255 where "
        "theirs are 0.031 and 0.007; weight decay 2e-4.",
        _CIFAR,
        {
            "train": {
                "objective": "trades",
                "beta": 6.0,
                "attack": _PGD10.replace(")", ", loss=kl, noise=0.001)"),
            },
            "optimizer": {"weight_decay": 2e-4},
        },
    )
    _keep(
        "mart",
        "MART with a weight of 5",
        "Wang et al. 2020, ICLR; learning rate 0.01 and weight decay 3.5e-3 as in their code.",
        _CIFAR,
        {
            "train": {"objective": "mart", "beta": 5.0, "attack": _PGD10},
            "optimizer": {"lr": 0.01, "weight_decay": 3.5e-3},
        },
    )
    _keep(
        "mixture",
        "half clean, half adversarial loss",
        "Wu et al. 2024, arXiv:2403.13134, section 3, with beta 1/2.",
        _CIFAR,
        {"train": {"objective": "mixture", "beta": 0.5, "attack": _PGD10}},
    )
    _keep(
        "fast-at",
        "one-step adversarial training, watched for catastrophic overfitting",
        "Wong, Rice and Kolter 2020, arXiv:2001.03994: step 10/255, 15 epochs, rate up to 0.2; "
        "one cycle by cosine where theirs is linear.",
        _CIFAR,
        {
            "train": {
                "objective": "fast",
                "attack": "pgd(norm=linf, eps=8/255, steps=1, step_size=10/255)",
                "epochs": 15,
                "stop_on_overfitting": True,
            },
            "optimizer": {"lr": 0.2},
            "schedule": {"kind": "onecycle", "every": "step", "peak": 0.4},
        },
    )
    _keep(
        "free-at",
        "free adversarial training, every batch used eight times",
        "Shafahi et al. 2019, arXiv:1904.12843: m = 8; 25 epochs of 8 replays for their 205 "
        "(of one), rate 0.1.",
        _CIFAR,
        {
            "train": {
                "objective": "adversarial",
                "attack": "pgd(norm=linf, eps=8/255, steps=1, step_size=8/255)",
                "step": "free(replays=8)",
                "epochs": 25,
            },
            "schedule": {"kind": "step", "milestones": [13, 19], "every": "epoch"},
        },
    )
    _keep(
        "awp-trades",
        "TRADES with adversarial weight perturbation",
        "Wu, Xia and Wang 2020, arXiv:2004.05884: gamma 0.005 after 10 epochs, 200 epochs.",
        _CIFAR,
        {
            "train": {
                "objective": "trades",
                "beta": 6.0,
                "attack": _PGD10.replace(")", ", loss=kl, noise=0.001)"),
                "step": "awp(gamma=0.005, warmup=10)",
                "epochs": 200,
            },
            "schedule": {"milestones": [100, 150]},
        },
    )
    _keep(
        "augmix",
        "AugMix with the consistency loss",
        "Hendrycks et al. 2020, arXiv:1912.02781, section 4.1: 100 epochs, cosine, weight 12.",
        _CIFAR,
        {
            "train": {"objective": "augmix_jsd", "alpha": 12.0},
            "optimizer": {"nesterov": True},
            "schedule": {"kind": "cosine", "every": "step"},
            "validate": {"attack": None},
        },
    )
    _keep(
        "gaussian-noise",
        "noise of sigma 0.25 on every image",
        "Cohen, Rosenfeld and Kolter 2019, arXiv:1902.02918, appendix: rate 0.1, a tenth every "
        "30 of 90 epochs; noisy images are cut to [0, 1] here.",
        _CIFAR,
        {
            "train": {"objective": "gaussian_noise", "sigma": 0.25, "epochs": 90},
            "schedule": {"milestones": [30, 60]},
        },
    )
    _keep(
        "wu-pgd7",
        "a NAS-Bench-201 cell, adversarially trained as in NAS-RobBench-201",
        "Wu et al. 2024, arXiv:2403.13134: PGD-7, one cycle with peak 0.1, 50 epochs; theirs "
        "measures on the test split, here 2 % of the training images are held out.",
        _CIFAR,
        {
            "train": {
                "objective": "adversarial",
                "attack": "pgd(norm=linf, eps=8/255, steps=7, step_size=2/255)",
                "epochs": 50,
                "batch_size": 256,
            },
            "optimizer": {"decay_all": True},
            "schedule": {"kind": "onecycle", "every": "step"},
        },
    )


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
            _keep(
                f"heuillet-{protocol}-{loss}",
                f"{kind}, {epochs} epochs, {about} at Linf 4/255",
                source,
                base,
                more,
                {"train": {**train, "epochs": epochs}},
            )


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
    _keep(
        "team34-basic",
        "ResNet-18 from scratch, no augmentation",
        source + rate,
        _TEAM34,
        _TEAM34_SCRATCH,
        {"train": {"epochs": 80}},
    )
    _keep(
        "team34-mixup",
        "the same with flips, rotations and MixUp",
        source + rate,
        _TEAM34,
        _TEAM34_SCRATCH,
        _TEAM34_MIXUP,
    )
    _keep(
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
    _keep("full-ft", "plain full fine-tuning", ours + "a tenth of the rate for the backbone.", base)
    _keep(
        "linear-probe",
        "only the last layer learns",
        ours + "the backbone stays in evaluation mode.",
        base,
        {"protocol": {"kind": "linear_probe"}},
    )
    _keep(
        "lp-ft",
        "linear probe first, then the whole network",
        ours + "protocol: Kumar et al. 2022, arXiv:2202.10054.",
        base,
        {"protocol": {"kind": "lp_ft", "probe_epochs": 10}},
    )


def _pretraining() -> None:
    base: Body = {
        "data": {"name": "cifar10", "validation": None},
        "model": {"name": _CELL, "mean": _CIFAR_MEAN, "std": _CIFAR_STD},
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
        _keep(
            f"{name.replace('_', '-')}-cifar10",
            f"self-supervised pretraining with {title}; no label is looked at",
            f"{paper}; views without blur and with weaker colors, for images of 32 pixels, and "
            "AdamW are our choice.",
            base,
            {"train": {"objective": name, **small}},
        )


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
    _keep("demo-plain", "a small network on handwritten digits", ours, base)
    _keep(
        "demo-mixup",
        "the same with MixUp and small rotations and shifts",
        ours,
        base,
        {"augment": ["affine(degrees=10, shift=0.08)", "mixup(alpha=0.3)"]},
    )
    _keep(
        "demo-noise",
        "the same with Gaussian noise",
        ours,
        base,
        {"augment": ["random_noise(sigma=0.4)"]},
    )
    _keep(
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


for _declare in (_cifar, _heuillet, _team34, _fine_tuning, _pretraining, _demo):
    _declare()
