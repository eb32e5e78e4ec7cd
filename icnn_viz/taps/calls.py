"""The arguments of a convolution's call -> Layer: PyTorch's, this package's, torchvision's deformable one, DCLS's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from icnn_viz.taps.layers import Layer
from icnn_viz.taps.rules import Operation
from icnn_viz.taps.trails import Trail

CONVOLUTIONS = {
    "conv2d": "input weight bias stride padding dilation groups",
    "irregular_conv2d": "x weight positions bias",
    "deform_conv2d": "input weight offset mask bias stride_h stride_w pad_h pad_w dil_h dil_w groups "
    "offset_groups use_mask",
}
"""Functions that are met as layers, and their arguments."""


def to_layer(call: Operation, trail: Trail, name: str, number: int, module: Any) -> Layer:
    """The layer that a call is.

    Args:
        trail: of its input.
        name, module: who called, number: after how many others.
    """
    given: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    given |= dict(zip(CONVOLUTIONS[call.name].split(), call.args, strict=False)) | dict(call.kwargs)
    if call.name == "deform_conv2d":
        for key, short in {"stride": "stride", "padding": "pad", "dilation": "dil"}.items():
            given[key] = given[f"{short}_h"], given[f"{short}_w"]
    weight = _to_array(given["weight"])
    kernels, inner, *size = weight.shape
    weight, out = weight.reshape(kernels, inner, -1), (int(call.result.shape[-2]), int(call.result.shape[-1]))
    stride, padding, dilation, groups = (given[key] for key in ("stride", "padding", "dilation", "groups"))
    layer = Layer.regular(name, number, trail, weight, size, stride, padding, dilation, groups, out)
    taps = len(layer.slots)
    if call.name == "irregular_conv2d":
        return _moved(layer, "irregular", _to_array(given["positions"]))
    if call.name == "deform_conv2d":
        offset, mask = (_to_array(given[key])[0] for key in ("offset", "mask"))
        sets = int(given["offset_groups"])
        masks = mask.reshape(sets, taps, *mask.shape[1:]) if given["use_mask"] else None
        return deformed(layer, offset.reshape(sets, taps, 2, *offset.shape[1:]), masks)
    return _of_dcls(layer, module) if type(module).__name__ == "Dcls2d" else layer


def deformed(layer: Layer, offsets: np.ndarray, mask: np.ndarray | None) -> Layer:
    """The layer with offsets (S, K, 2, height, width) in pixels from its slots; S divides its input channels."""
    sets, channels = len(offsets), layer.channels
    shape_of = (np.arange(channels) * sets // channels)[None]
    positions = np.repeat(layer.slots[None], sets, 0)
    return replace(
        layer, kind="deformable", offsets=offsets, mask=mask, positions=positions, shape_of=shape_of
    )


def _moved(layer: Layer, kind: str, positions: np.ndarray) -> Layer:
    """With positions (1 | C_in, K, 2), or (C_out, C_in/groups, K, 2)."""
    if positions.ndim == 4:
        shape_of = np.arange(positions.shape[0] * positions.shape[1]).reshape(positions.shape[:2])
    else:
        shape_of = np.broadcast_to(np.arange(len(positions)), (1, layer.channels)).copy()
    return replace(
        layer, kind=kind, positions=positions.reshape(-1, *positions.shape[-2:]), shape_of=shape_of
    )


def _of_dcls(layer: Layer, module: Any) -> Layer:
    """Its own taps, in place of the kernel that it builds of them."""
    from icnn_viz.positions.dcls import dcls_to_cloud

    height, width = (int(length) for length in module.dilated_kernel_size)
    widths = getattr(module, "SIG", None)
    cloud = dcls_to_cloud(layer.name, 0, module.version, (height, width), module.weight, module.P, widths)
    weight = _to_array(module.weight)
    positions = np.broadcast_to(cloud.positions, (*weight.shape, 2))
    return _moved(replace(layer, weight=weight, slots=cloud.slots), "dcls", positions)


def _to_array(tensor: Any) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
