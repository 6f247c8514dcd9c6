"""Which weights learn, at which rates, and what stays in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models import head_layers
from holdfast.training.recipe import OptimizerSection, ProtocolSection, Recipe

_NORMS = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - torch has no public base of them
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)
BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)  # noqa: SLF001 - as above
_LISTS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Phase:
    """A part of a run with one set of learning weights and one optimizer.

    Attributes:
        kind: full, linear_probe or last_k.
        first: Its first epoch, from 1.
        epochs: How many.
    """

    kind: str
    first: int
    epochs: int

    @property
    def last(self) -> int:
        """Its last epoch."""
        return self.first + self.epochs - 1


def phases(recipe: Recipe) -> tuple[Phase, ...]:
    """Phases of a recipe in order; only lp_ft has two."""
    kind, epochs = recipe.protocol.kind, recipe.train.epochs
    probe = recipe.protocol.probe_epochs
    if probe is not None:
        return Phase("linear_probe", 1, probe), Phase("full", probe + 1, epochs - probe)
    return (Phase("full" if kind == "scratch" else kind, 1, epochs),)


class Learning:
    """A network's weights and modes in one phase.

    Making one sets `requires_grad`; `modes` is called before every pass that trains, so that
    what is frozen stays frozen after anyone has called `train` on the network.
    """

    def __init__(
        self,
        net: nn.Module,
        protocol: ProtocolSection,
        phase: Phase,
        companion: nn.Module | None = None,
    ) -> None:
        self.net = net
        self._companion = nn.Module() if companion is None else companion
        names = head_layers(net)
        modules = dict(net.named_modules())
        if not names and phase.kind != "full":
            raise BadValueError(
                f"{type(net).__name__} has no last layer that could learn alone; take "
                "protocol.kind=full"
            )
        self._heads = [modules[name] for name in names]
        learning = [net]
        if phase.kind != "full":
            learning = [*self._heads, *_last_blocks(net, names, phase, protocol.blocks)]
        self._frozen = [] if phase.kind == "full" else [net]
        self._learning = learning
        self._norms = (
            [m for m in net.modules() if isinstance(m, BATCH_NORMS)] if protocol.freeze_bn else []
        )
        net.requires_grad_(False)
        for module in learning:
            module.requires_grad_(True)
        for module in self._norms:
            module.requires_grad_(False)

    def modes(self) -> None:
        """Training mode for what learns, evaluation mode for the rest."""
        for module in self._frozen:
            module.eval()
        for module in self._learning:
            module.train()
        for module in self._norms:
            module.eval()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Weights of the network that learn, in its order."""
        return [p for p in self.net.parameters() if p.requires_grad]

    def groups(self, settings: OptimizerSection) -> list[dict[str, Any]]:
        """Parameter groups: backbone and head, each with and without decay; none empty.

        Biases, and the weights of normalizations, are not decayed unless `decay_all`.
        """
        heads = {id(p) for head in self._heads for p in head.parameters()}
        found: dict[tuple[float, float], list[nn.Parameter]] = {}
        for module in (self.net, self._companion):
            spared = set() if settings.decay_all else _not_decayed(module)
            for parameter in module.parameters():
                if not parameter.requires_grad:
                    continue
                head = module is not self.net or id(parameter) in heads
                lr, decay = _rates(settings, head=head)
                if id(parameter) in spared:
                    decay = 0.0
                found.setdefault((lr, decay), []).append(parameter)
        return [
            {"params": params, "lr": lr, "weight_decay": decay, "base_lr": lr}
            for (lr, decay), params in found.items()
        ]


def make_optimizer(
    groups: Iterable[dict[str, Any]], settings: OptimizerSection
) -> torch.optim.Optimizer:
    """Optimizer of these groups."""
    groups = list(groups)
    if not groups:
        raise BadValueError(
            "the network has no weights that could learn; give one that has, or train more of it "
            "(protocol.kind=full, protocol.freeze_bn=false)"
        )
    if settings.kind == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov)
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    return kind(groups, betas=settings.betas)


def _rates(settings: OptimizerSection, *, head: bool) -> tuple[float, float]:
    """Learning rate and decay of the backbone, or of the head and what learns beside it."""
    lr, decay = settings.lr, settings.weight_decay
    if head and settings.head_lr is not None:
        lr = settings.head_lr
    if head and settings.head_weight_decay is not None:
        decay = settings.head_weight_decay
    return lr, decay


def _is_norm(module: nn.Module) -> bool:
    # Libraries have some of their own, of no common base.
    return isinstance(module, _NORMS) or type(module).__name__.lower().endswith("norm")


def _not_decayed(net: nn.Module) -> set[int]:
    own = (m.parameters(recurse=False) for m in net.modules() if _is_norm(m))
    norms = {id(p) for parameters in own for p in parameters}
    biases = {id(p) for name, p in net.named_parameters() if name.endswith("bias")}
    return norms | biases


def _last_blocks(
    net: nn.Module, heads: tuple[str, ...], phase: Phase, count: int
) -> list[nn.Module]:
    """The last blocks in the network's order, for last_k.

    A block is an entry of the network's longest chains: of each list of layers that holds no
    further list, or a layer of its own that has weights. A list of a class of its own that holds
    single layers, such as torchvision's Conv2dNormActivation, is one block; a normalization by
    itself belongs to the block before it.
    """
    if phase.kind != "last_k":
        return []
    blocks: list[list[nn.Module]] = []
    for name, module in _blocks(net):
        if name in heads or not _has_weights(module):
            continue
        if isinstance(module, _NORMS) and blocks:
            blocks[-1].append(module)
        else:
            blocks.append([module])
    if count > len(blocks):
        raise BadValueError(
            f"protocol.blocks={count}, but {type(net).__name__} has {len(blocks)} blocks before "
            "its last layer; give no more, or protocol.kind=full"
        )
    return [module for block in blocks[-count:] for module in block]


def _blocks(net: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, child in net.named_children():
        path = f"{prefix}{name}"
        inner = _is_chain(child) and _has_weights(child)
        found += _blocks(child, f"{path}.") if inner else [(path, child)]
    return found


def _is_chain(module: nn.Module) -> bool:
    composite = any(next(one.children(), None) is not None for one in module.children())
    return type(module) in _LISTS or (isinstance(module, _LISTS) and composite)


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
