"""Training from scratch on CIFAR-10, plain and adversarial."""

from __future__ import annotations

from holdfast.training.presets.base import CELL, CIFAR_MEAN, CIFAR_STD, Body, keep

_PGD10 = "pgd(norm=linf, eps=8/255, steps=10, step_size=2/255)"

_CIFAR: Body = {
    "data": {"name": "cifar10", "validation": 0.02},
    "model": {"name": CELL, "mean": CIFAR_MEAN, "std": CIFAR_STD},
    "protocol": {"kind": "scratch"},
    "augment": ["crop(padding=4)", "flip"],
    "train": {"epochs": 100, "batch_size": 128},
    "optimizer": {
        "kind": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "decay_all": True,
    },
    "schedule": {"kind": "step", "milestones": [75, 90], "every": "epoch"},
    "validate": {"n": 1000},
}

keep(
    "plain-cifar10",
    "plain training, to compare with",
    "Customary settings of residual networks on CIFAR-10.",
    _CIFAR,
    {"schedule": {"kind": "cosine", "every": "step"}},
)
keep(
    "classic-at",
    "adversarial training with PGD-10 at Linf 8/255",
    "Madry et al. 2018, arXiv:1706.06083; steps and schedule as TRADES' code, by whose "
    "settings later papers compare.",
    _CIFAR,
    {"train": {"objective": "adversarial", "attack": _PGD10}},
)
keep(
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
keep(
    "mart",
    "MART with a weight of 5",
    "Wang et al. 2020, ICLR; learning rate 0.01 and weight decay 3.5e-3 as in their code.",
    _CIFAR,
    {
        "train": {"objective": "mart", "beta": 5.0, "attack": _PGD10},
        "optimizer": {"lr": 0.01, "weight_decay": 3.5e-3},
    },
)
keep(
    "mixture",
    "half clean, half adversarial loss",
    "Wu et al. 2024, arXiv:2403.13134, section 3, with beta 1/2.",
    _CIFAR,
    {"train": {"objective": "mixture", "beta": 0.5, "attack": _PGD10}},
)
keep(
    "fast-at",
    "one-step adversarial training, watched for catastrophic overfitting",
    "Wong, Rice and Kolter 2020, arXiv:2001.03994: step 10/255, 15 epochs, rate up to 0.2; "
    "one cycle by cosine, momentum against it, where theirs is linear and momentum stays.",
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
keep(
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
keep(
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
keep(
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
keep(
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
keep(
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
        "schedule": {"kind": "onecycle", "every": "step"},
    },
)
