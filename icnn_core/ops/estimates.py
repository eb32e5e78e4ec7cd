"""What a call would cost each back end.

A cost is a time: on a CPU in nanoseconds of a thread, elsewhere in multiply-adds that take as long on CUDA.
"""

from __future__ import annotations

import math

from icnn_core.ops.cpu_costs import estimate, product_size, reach_area
from icnn_core.ops.cuda_costs import cuda_costs
from icnn_core.ops.request import Request

_CHANNELS_FOR_FULL_SPEED = 16


def dense_cost(request: Request) -> float:
    if request.reach is None:
        return math.inf
    if request.device.type == "cpu":
        return estimate("dense", request)
    g, area = request.geometry, reach_area(request.reach)
    weights = g.out_channels * (g.in_channels / g.groups) * area
    # A convolution with few channels a group fills no matrix unit: depthwise it is far from a product's speed.
    width = min(1.0, g.in_channels / g.groups / _CHANNELS_FOR_FULL_SPEED)
    return product_size(g, area) / width + weights * cuda_costs(request.dtype).per_weight_built


def gathered_cost(request: Request) -> float:
    if request.device.type == "cpu":
        return estimate("gathered", request)
    g, costs = request.geometry, cuda_costs(request.dtype)
    (height, width), (out_height, out_width) = g.input_size, g.output_size
    planes = g.batch * g.in_channels * g.taps
    if not request.shared:
        planes *= g.out_channels / g.groups
    sampling = planes * out_height * width * (height + out_width) * costs.small_product
    traffic = planes * out_height * (out_width + width) * costs.per_element_moved
    return sampling + traffic + product_size(g, g.taps)


def fused_cost(request: Request) -> float:
    """On the CPU Triton interprets the kernels, for tests: never chosen, whatever the environment says."""
    if not request.on_cuda:
        return math.inf
    g = request.geometry
    return product_size(g, g.taps) + _sampling_cost(request, g.in_channels, g.output_size)


def blended_cost(request: Request) -> float:
    """A product at every pixel of x, with C_in/groups channels and C_out·K kernels; then C_out·K planes are sampled."""
    if request.device.type == "cpu":
        return estimate("blended", request)
    g = request.geometry
    height, width = g.input_size
    product = g.batch * g.out_channels * g.taps * (g.in_channels / g.groups) * height * width
    return product + _sampling_cost(request, g.out_channels, g.output_size)


def _sampling_cost(request: Request, channels: int, size: tuple[int, int]) -> float:
    g = request.geometry
    return g.batch * channels * g.taps * size[0] * size[1] * cuda_costs(request.dtype).per_sample
