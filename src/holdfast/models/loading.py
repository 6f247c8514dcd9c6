"""Weights into a network: what fits, what stays fresh, and how many classes a file has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.weights import State, read_weights

Part = Literal["all", "backbone"]

_AUXILIARY = ("AuxLogits", "aux1", "aux2")  # inception_v3 and googlenet classify thrice
_HEADS = ("classifier", "heads", "head")  # a head of several layers, where a name says so
_COUNTER = "num_batches_tracked"  # absent from old files, and no evaluation reads it
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """One model as a person asked for it, for the source that builds it."""

    spec: str  # what was typed
    name: str  # what follows the source's prefix
    weights: Path | None = None
    part: Part = "all"
    classes: int | None = None
    pretrained: bool = True  # where no file is given and the source has weights of its own
    init_seed: int = 0
    input_size: tuple[int, int] | None = None  # height and width where they are not the usual ones


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a source hands over."""

    net: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing
    identity: str  # text that two networks share only when they are the same code
    source_digest: str = ""  # sha256 of the file that builds the network
    fresh_keys: tuple[str, ...] = ()  # weights that no file gave
    flags: frozenset[str] = frozenset()


UNTRAINED = frozenset({"untrained"})  # flag of a network whose weights no training gave


@contextmanager
def keyed_initialization(name: str, init_seed: int = 0) -> Iterator[None]:
    """Draw initial weights from a stream keyed by `name`; the global generator is put back.

    Args:
        name: What is built.
        init_seed: Another one gives other weights.
    """
    key = f"{name}\0{init_seed}" if init_seed else name
    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def build_and_load(
    make: Callable[[int | None], nn.Module], request: Request
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a network for a request and load its file.

    Args:
        make: Network for a number of classes; None asks for the usual number.
        request: Without `classes`, a file that is loaded whole says how many there are.

    Returns:
        The network, and the keys that stayed fresh: all of them without a file.
    """
    with keyed_initialization(request.spec, request.init_seed):
        net = make(request.classes)
    if request.weights is None:
        return net, tuple(net.state_dict())
    state = read_weights(request.weights)
    classes = classes_in(state, net)
    usual = classes_in(net.state_dict(), net)
    if request.part == "all" and request.classes is None and classes not in (None, usual):
        with keyed_initialization(request.spec, request.init_seed):
            net = make(classes)
    what = f"the weights in {request.weights}"
    return net, load_weights(net, state, part=request.part, what=what)


def load_weights(
    net: nn.Module, state: State, *, part: Part = "all", what: str = "the weights"
) -> tuple[str, ...]:
    """Copy `state` into `net`, and return the keys that stayed fresh.

    Every key must be there and no other, except the counters of batch normalization. A first
    component that all keys of the file share and the network lacks (`model.`) is dropped.
    `backbone` leaves the last layer as it is and ignores the file's; further layers of a named
    head (`classifier`) may be missing.

    Raises:
        BadValueError: The keys or shapes do not fit; nothing was changed.
    """
    wanted = net.state_dict()
    state = _aligned(state, wanted)
    heads = head_layers(net)
    fresh: set[str] = set()
    if part == "backbone":
        fresh = {key for key in wanted if _within(key, heads)}
        wider = tuple(h.rpartition(".")[0] for h in heads if _named_head(h))
        fresh |= {k for k in wanted if k not in state and _within(k, wider)}
        state = {key: value for key, value in state.items() if not _within(key, heads)}
    missing = [k for k in wanted if k not in state and k not in fresh and not _counts(k)]
    unexpected = [k for k in state if k not in wanted and not _counts(k)]
    reshaped = [k for k in state if k in wanted and state[k].shape != wanted[k].shape]
    if missing or unexpected or reshaped:
        odds = [
            _listed(missing, len(wanted), "missing"),
            _listed(unexpected, len(state), "unexpected"),
            _listed([_shapes(k, wanted, state) for k in reshaped], len(wanted), "of other shapes"),
        ]
        only_head = all(_within(key, heads) for key in (*missing, *unexpected, *reshaped))
        raise BadValueError(
            f"{what} do not fit {type(net).__name__}: {'; '.join(o for o in odds if o)}; "
            + (_HEAD_ADVICE if only_head else "is it a file for another architecture?")
        )
    net.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})
    return tuple(key for key in wanted if key in fresh)


_HEAD_ADVICE = (
    "only the last layer differs: give its number of classes, or load the weights part "
    "'backbone', which leaves that layer fresh"
)


def head_layers(net: nn.Module) -> tuple[str, ...]:
    """Names of the layers whose outputs are logits.

    What timm's configuration names; else the last linear layer, or the last convolution where
    there is no linear layer, and torchvision's auxiliary classifiers.
    """
    config = getattr(net, "pretrained_cfg", None) or {}
    named = config.get("classifier") or ()
    names = (named,) if isinstance(named, str) else tuple(named)
    modules = dict(net.named_modules())
    found = tuple(name for name in names if name in modules)
    if found:
        return found
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    layers = linear or [n for n, module in modules.items() if isinstance(module, nn.Conv2d)]
    auxiliary = (_last(linear, name) for name in _AUXILIARY if name in modules)
    return tuple(dict.fromkeys([*auxiliary, *layers[-1:]]))


def classes_in(state: State, net: nn.Module) -> int | None:
    """Number of classes that a file's last layer has, None where the file has no such layer."""
    aligned = _aligned(state, net.state_dict())
    weights = (aligned.get(f"{name}.weight") for name in reversed(head_layers(net)))
    return next((len(weight) for weight in weights if weight is not None), None)


def _aligned(state: State, wanted: Mapping[str, Tensor]) -> State:
    """Drop the wrapper that only the file has, and add the one that only the network has."""
    own, theirs = _wrapper(wanted), _wrapper(state)
    inside = {key.removeprefix(own) for key in wanted}
    if theirs != own and not any(key.startswith(theirs) for key in inside):
        state = {key.removeprefix(theirs): value for key, value in state.items()}
    if own and not any(key.startswith(own) for key in state):
        state = {own + key: value for key, value in state.items()}
    return state


def _wrapper(keys: Iterable[str]) -> str:
    """First component with its dot where all keys share it, such as `model.`; else nothing."""
    first = {key.partition(".")[0] if "." in key else "" for key in keys}
    return f"{first.pop()}." if len(first) == 1 and "" not in first else ""


def _last(names: list[str], parent: str) -> str:
    return [name for name in names if name.startswith(f"{parent}.")][-1]


def _within(key: str, layers: Sequence[str]) -> bool:
    return any(key == layer or key.startswith(f"{layer}.") for layer in layers)


def _named_head(layer: str) -> bool:
    return layer.rpartition(".")[0].rpartition(".")[2] in _HEADS


def _counts(key: str) -> bool:
    return key.endswith(_COUNTER)


def _shapes(key: str, wanted: dict[str, Tensor], state: State) -> str:
    return f"{key} expected {list(wanted[key].shape)}, came {list(state[key].shape)}"


def _listed(keys: list[str], total: int, how: str) -> str:
    if not keys:
        return ""
    more = ", ..." if len(keys) > _SHOWN else ""
    return f"{len(keys)} of {total} keys {how} ({', '.join(keys[:_SHOWN])}{more})"
