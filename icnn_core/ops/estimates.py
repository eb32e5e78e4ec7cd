"""What a back end must know of a call, and what the call would cost there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from icnn_core.ops.cuda_costs import CudaCosts, cuda_costs
from icnn_core.ops.dense import Reach
from icnn_core.ops.geometry import Geometry

_MULTIPLY_ADDS_PER_ELEMENT_MOVED = 16
_MULTIPLY_ADDS_PER_SAMPLE = 32
_CHANNELS_FOR_FULL_SPEED = 16


@dataclass(frozen=True)
class Request:
    """What a back end must know of a call to say whether it serves, and at what cost.

    Attributes:
        geometry: the call's sizes.
        dtype: in which the call computes: the input's, or autocast's.
        device: of the input.
        shared: False if every kernel has shapes of its own (sharing "none").
        gaussian: whether interpolation is Gaussian, not bilinear.
        native: whether only native operations can serve, see `registration.needs_native`.
        reach: the positions' reach, or None where their values cannot be read (tracing, vmap, meta tensors) or are not
            looked at.
        one_shape: whether all channels share one shape (sharing "layer").
    """

    geometry: Geometry
    dtype: torch.dtype
    device: torch.device
    shared: bool
    gaussian: bool
    native: bool
    reach: Reach | None
    one_shape: bool = False

    def with_reach(self, reach: Reach | None) -> Request:
        return self._with(self.geometry, reach)

    def with_geometry(self, geometry: Geometry) -> Request:
        return self._with(geometry, self.reach)

    def _with(
        self, geometry: Geometry, reach: Reach | None
    ) -> Request:  # the compiler cannot trace dataclasses.replace
        return Request(
            geometry, self.dtype, self.device, self.shared, self.gaussian, self.native, reach, self.one_shape
        )


def _product_size(request: Request, taps: float) -> float:
    """Multiply-adds of a convolution with `taps` taps."""
    g = request.geometry
    height, width = g.output_size
    return g.batch * g.out_channels * (g.in_channels / g.groups) * height * width * taps


def _reach_area(reach: Reach) -> int:
    (first_y, last_y), (first_x, last_x) = reach
    return (last_y - first_y + 1) * (last_x - first_x + 1)


def dense_cost(request: Request) -> float:
    if request.reach is None:
        return math.inf
    g = request.geometry
    area = _reach_area(request.reach)
    weights = g.out_channels * (g.in_channels / g.groups) * area
    build = weights * g.taps
    if request.device.type == "cuda":
        build = weights * _on_cuda(request).per_weight_built
    # A convolution with few channels a group fills no vector unit: depthwise it is far from a matrix product's speed.
    width = min(1.0, g.in_channels / g.groups / _CHANNELS_FOR_FULL_SPEED)
    return _product_size(request, area) / width + build


def gathered_cost(request: Request) -> float:
    g = request.geometry
    (height, width), (out_height, out_width) = g.input_size, g.output_size
    planes = g.batch * g.in_channels * g.taps
    if not request.shared:
        planes *= g.out_channels / g.groups
    moved, slowness = _MULTIPLY_ADDS_PER_ELEMENT_MOVED, 1.0
    if request.device.type == "cuda":
        moved, slowness = _on_cuda(request).per_element_moved, _on_cuda(request).small_product
    sampling = planes * out_height * width * (height + out_width) * slowness
    traffic = planes * out_height * (out_width + width) * moved
    return sampling + traffic + _product_size(request, g.taps)


def _on_cuda(request: Request) -> CudaCosts:
    return cuda_costs(request.dtype)


def compiled_cost(request: Request) -> float:
    g = request.geometry
    return _product_size(request, g.taps) + _sampling_cost(request, g.in_channels)


def _sampling_cost(request: Request, channels: int) -> float:
    g = request.geometry
    height, width = g.output_size
    per_sample: float = _MULTIPLY_ADDS_PER_SAMPLE
    if request.device.type == "cuda":
        per_sample = _on_cuda(request).per_sample
    return g.batch * channels * g.taps * height * width * per_sample


def fused_cost(request: Request) -> float:
    """On the CPU Triton interprets the kernels, for tests: never chosen, whatever the environment says."""
    return math.inf if request.device.type == "cpu" else compiled_cost(request)


def blended_cost(request: Request) -> float:
    """A product at every pixel of x, with C_in/groups channels and C_out·K kernels; then C_out·K planes are sampled."""
    g = request.geometry
    height, width = g.input_size
    product = g.batch * g.out_channels * g.taps * (g.in_channels / g.groups) * height * width
    return product + _sampling_cost(request, g.out_channels)


def sparse_cost(request: Request) -> float:
    g = request.geometry
    height, width = g.output_size
    lanes = 64 // max(4, request.dtype.itemsize)
    pairs = g.out_channels * (g.in_channels / g.groups) * g.taps
    vectors = g.batch * pairs * height * -(-width // lanes)
    return 5.0 * vectors * lanes
