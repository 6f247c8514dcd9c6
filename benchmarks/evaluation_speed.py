"""Claim: a search copy of a classifier answers alike and costs less, forward and with gradient.

Peer: the classifier itself with frozen weights, under no_grad for forward passes. Both get the
same noise images in [0, 1]; one thread, best of several rounds that alternate between the two.
Networks of CIFAR-10 need the shared weights; those of timm are untrained, which costs the same.

    OMP_NUM_THREADS=1 python benchmarks/evaluation_speed.py [--shared ../shared] [--rounds 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor

from holdfast.models import Classifier, Preprocessing, load_model
from holdfast.models.fast import described_copy
from timing import best

_CIFAR = {
    "resnet20": "resnet20-12fca82f.th",
    "cnn_a": "cifar_cnn_a_adv.model",
    "resnet4b": "resnet4b.pth",
}
_TIMM = ("resnet18", "mobilenetv2_100", "vit_tiny_patch16_224")
_IMAGENET = Preprocessing(
    input_size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_CODE = Path(__file__).resolve().parents[1] / "tests" / "models" / "cifar_models.py"


def networks(shared: Path) -> dict[str, tuple[Classifier, Tensor]]:
    """Frozen classifiers with a batch of images."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(64, 3, 32, 32, generator=generator)
    large = torch.rand(16, 3, 224, 224, generator=generator)
    found = {}
    for name, file in _CIFAR.items():
        weights = shared / "data" / "weights" / "cifar10" / file
        if weights.is_file():
            found[name] = (load_model(f"{_CODE}:{name}", weights=weights), small)
    for name in _TIMM:
        found[name] = (load_model(timm.create_model(name), preprocessing=_IMAGENET), large)
    for classifier, _ in found.values():
        classifier.net.requires_grad_(False)
    return found


def forward(classifier: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits without a graph."""
    with torch.no_grad():
        return classifier(images)


def with_gradient(classifier: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Gradient of a smooth loss with respect to the images."""
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(classifier(images).logsumexp(1).sum(), images)
    return gradient


def microseconds(
    call: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor],
    pair: tuple[Classifier, Classifier],
    images: Tensor,
    rounds: int,
) -> list[float]:
    """Least time an image of both classifiers, taken in turn."""
    for classifier in pair:
        call(classifier, images)
    taken = [[best(lambda c=c: call(c, images)) for c in pair] for _ in range(rounds)]
    return [1e6 * min(column) / len(images) for column in zip(*taken, strict=True)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("network | pass | before us/image | after us/image | before / after | what was done")
    print("--- | --- | ---: | ---: | ---: | ---")
    for name, (classifier, images) in networks(options.shared).items():
        copied = described_copy(
            classifier, precision=options.precision, compile_net=options.compile
        )
        pair = (classifier, copied.classifier)
        difference = float((forward(pair[0], images) - forward(pair[1], images)).abs().max())
        # With gradient first: it makes room in memory that forward passes then need not ask for.
        for label, call in (("gradient", with_gradient), ("forward", forward)):
            before, after = microseconds(call, pair, images, options.rounds)
            cells = f"{before:.0f} | {after:.0f} | {before / after:.2f}"
            print(f"{name} | {label} | {cells} | {', '.join(copied.changes)}", flush=True)
        print(f"{name} | logits differ by | {difference:.1e} | | | {', '.join(copied.problems)}")


if __name__ == "__main__":
    main()
