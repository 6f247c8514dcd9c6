"""Tangent features: the derivative of an output by all parameters, one row an image."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.search.proxies._networks import Pass, gradients, recording

_CHUNK = 8  # images a pass of vmap


def tangent_gram(network: nn.Module, images: Tensor, readouts: Tensor) -> Tensor:
    """Mean over readouts r of <d (r . f)(x_i), d (r . f)(x_j)>, over all parameters.

    Layer by layer where every parameter belongs to a plain convolution, linear layer or batch
    normalization; otherwise by `torch.func`.

    Args:
        network: In a mode in which an image's logits depend on no other image.
        images: float [N, C, H, W].
        readouts: float [R, K]; weights of the K logits.

    Returns:
        float64 [N, N], symmetric and positive semidefinite but for rounding.
    """
    by_layers = _understood(network)
    gram = _by_layers(network, images, readouts) if by_layers else None
    if gram is None:
        gram = _by_functions(network, images, readouts)
    return (gram + gram.T) / (2 * len(readouts))


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _understood(network: nn.Module) -> bool:
    known = {id(p) for m in network.modules() if _plain(m) for p in m.parameters(recurse=False)}
    return known == {id(p) for p in network.parameters()}


def _plain(module: nn.Module) -> bool:
    """Whether a layer is one of torch's own: a subclass may pad or activate besides."""
    if type(module) is nn.Conv2d:
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    if isinstance(module, _BatchNorm) and type(module) in _NORMS:
        return module.running_mean is not None
    return type(module) is nn.Linear


def _by_layers(network: nn.Module, images: Tensor, readouts: Tensor) -> Tensor | None:
    """Gram matrix, a layer's features at a time; None where a layer got something unusual."""
    uses: dict[nn.Module, list[Pass]] = {}
    with recording(network, _plain) as record, torch.enable_grad():
        logits = network(images)
    for one in record.passes:
        uses.setdefault(one.layer, []).append(one)
    if any(not _usual(one, len(images)) for one in record.passes):
        return None
    gram = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)
    after = [one.after for one in record.passes]
    for readout in readouts:
        found = gradients((logits @ readout).sum(), after, again=True)
        sloped = {id(one): slope for one, slope in zip(record.passes, found, strict=True)}
        for passes in uses.values():
            parts = [_layer_features(one, sloped[id(one)]) for one in passes]
            for features in (torch.stack(same).sum(0) for same in zip(*parts, strict=True)):
                wide = features.double()
                gram += wide @ wide.T
    return gram


def _usual(one: Pass, count: int) -> bool:
    """Whether a layer saw the images one by one, in its common layout."""
    dims = 4 if isinstance(one.layer, nn.Conv2d) else 2
    fits = one.before.dim() == dims or isinstance(one.layer, _BatchNorm)
    return fits and len(one.before) == count


def _layer_features(one: Pass, slope: Tensor) -> list[Tensor]:
    """Derivative by each parameter of a layer, [N, numel] each."""
    layer, before = one.layer, one.before.detach()
    if isinstance(layer, nn.Conv2d):
        weight = _convolution(layer, before, slope)
    elif isinstance(layer, nn.Linear):
        weight = (slope[:, :, None] * before[:, None, :]).flatten(1)
    else:
        weight = _normalization(cast("_BatchNorm", layer), before, slope)
    names = dict(layer.named_parameters(recurse=False))
    found = [weight] if "weight" in names else []
    if "bias" in names:
        found.append(slope.flatten(2).sum(2) if slope.dim() > 2 else slope)
    return found


def _convolution(layer: nn.Conv2d, before: Tensor, slope: Tensor) -> Tensor:
    padding = cast("tuple[int, int]", layer.padding)
    if layer.kernel_size == layer.stride == (1, 1) and padding == (0, 0):
        patches = before.flatten(2)
    else:
        patches = F.unfold(before, layer.kernel_size, layer.dilation, padding, layer.stride)
    count, groups = len(before), layer.groups
    patches = patches.reshape(count * groups, -1, patches.shape[2])
    slopes = slope.reshape(count * groups, layer.out_channels // groups, -1)
    return (slopes @ patches.transpose(1, 2)).reshape(count, -1)


def _normalization(layer: _BatchNorm, before: Tensor, slope: Tensor) -> Tensor:
    mean, variance = cast("Tensor", layer.running_mean), cast("Tensor", layer.running_var)
    shape = (1, -1, *[1] * (before.dim() - 2))
    scaled = (before - mean.view(shape)) * (variance + layer.eps).rsqrt().view(shape)
    products = scaled * slope
    return products.flatten(2).sum(2) if products.dim() > 2 else products


def _by_functions(network: nn.Module, images: Tensor, readouts: Tensor) -> Tensor:
    """Gram matrix by `torch.func`, all parameters at once."""
    parameters = {name: one.detach() for name, one in network.named_parameters()}
    buffers = dict(network.named_buffers())
    gram = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)
    for readout in readouts:

        def output(parameters: dict[str, Tensor], image: Tensor, readout: Tensor) -> Tensor:
            logits = functional_call(network, (parameters, buffers), (image[None],))
            return (logits @ readout).sum()

        rows = vmap(grad(output), in_dims=(None, 0, None), chunk_size=_CHUNK)
        found = rows(parameters, images, readout)
        wide = torch.cat(
            [one.detach().reshape(len(images), -1) for one in found.values()], 1
        ).double()
        gram += wide @ wide.T
    return gram
