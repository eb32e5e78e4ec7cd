"""What a call costs on a CPU: its work, counted, times rates that were measured. The choice among back ends goes by it.

A time is a sum over few kinds of work, each proportional to a number that follows from the call's sizes and the
positions' reach. `benchmarks/choice.py --fit` measured the rates, and tells how; `benchmarks/choice.py` what wrong
choices cost. Only their ratios matter, which differ less between machines than times do. They are of the forward pass;
forward and backward together take some three times as long in every back end.
"""

from __future__ import annotations

from collections.abc import Callable

from icnn_core.ops.dense import Reach
from icnn_core.ops.geometry import Geometry
from icnn_core.ops.request import Request

RATES: dict[str, dict[str, float]] = {
    "sampled": {"call": 743000.0, "product": 0.366, "samples": 6.05},
    "blended": {"call": 785000.0, "product": 0.454, "samples": 21.4},
    "sparse": {
        "call": 740000.0,
        "taps": 25.1,
        "vectors": 1.71,
        "strided": 4.7,
        "wide taps": 240.0,
        "wide": 9.32,
    },
    "dense": {
        "call": 1040000.0,
        "product": 0.339,
        "grouped": 0.9,
        "product64": 0.322,
        "column64": 2.05,
        "built": 1.67,
        "axes": 2.77,
        "pairs": 1450.0,
    },
    "gathered": {"call": 750000.0, "small products": 0.737, "moved": 2.56, "product": 0.463},
}
"""Nanoseconds of one thread by back end and kind of work, see `count_work`."""

_DOUBT = 1.5
"""PyTorch's convolution takes longer than estimated more often, and by more, than any other."""
_BLOCK = 16  # kernels that a convolution of PyTorch's computes together: fewer in a group take as long
_WIDE = 8  # pixels along an axis of a Gaussian's window


def estimate(name: str, request: Request) -> float:
    """Nanoseconds of one thread; of `dense` more, so that it serves where that surely pays."""
    total = 0.0
    for kind, count in count_work(name, request).items():
        total += RATES[name][kind] * count
    return total * _DOUBT if name == "dense" else total


def count_work(name: str, request: Request) -> dict[str, float]:
    """How much of each kind of work a back end does in a forward pass.

    - `call`: 1.
    - `product`: multiply-adds of matrix products, in vectors of 64 bytes. `dense` has `grouped` instead with groups,
      and `product64` in float64, with `column64`, the numbers of the columns that PyTorch's convolution then forms.
    - `samples`: vectors of blended samples.
    - `taps`, `vectors`: pairs of image and tap of `sparse`, and vectors of outputs that are added to; `strided` with a
      stride, `wide` and `wide taps` with Gaussian windows.
    - `built`: vectors of products that a dense kernel is summed from; `axes`: interpolation weights along its axes;
      `pairs` of kernel and channel with shapes of their own, each a small product of matrices.
    - `small products`: multiply-adds with matrices of interpolation weights, in vectors; `moved`: numbers written.
    """
    return _COUNTS[name](request)


def product_size(g: Geometry, taps: float) -> float:
    """Multiply-adds of a convolution with `taps` taps."""
    height, width = g.output_size
    return g.batch * g.out_channels * (g.in_channels / g.groups) * height * width * taps


def reach_area(reach: Reach) -> int:
    """The pixels of a dense kernel."""
    (first_y, last_y), (first_x, last_x) = reach
    return (last_y - first_y + 1) * (last_x - first_x + 1)


def _lanes(request: Request) -> int:
    return 64 // max(4, request.dtype.itemsize)


def _sampled(request: Request) -> dict[str, float]:
    g, lanes = request.geometry, _lanes(request)
    height, width = g.output_size
    samples = g.batch * g.in_channels * g.taps * height * -(-width // lanes)
    return {"call": 1, "product": product_size(g, g.taps) / lanes, "samples": samples}


def _blended(request: Request) -> dict[str, float]:
    """A product at every pixel of x, with C_in/groups channels and C_out·K kernels; then C_out·K planes are sampled."""
    g, lanes = request.geometry, _lanes(request)
    height, width = g.input_size
    planes = g.batch * g.out_channels * g.taps * height
    product = planes * width * (g.in_channels / g.groups) / lanes
    return {"call": 1, "product": product, "samples": planes * -(-width // lanes)}


def _sparse(request: Request) -> dict[str, float]:
    g = request.geometry
    height, width = g.output_size
    taps = g.batch * g.out_channels * (g.in_channels / g.groups) * g.taps
    vectors = taps * height * -(-width // _lanes(request))
    if request.gaussian:
        return {"call": 1, "taps": taps, "wide taps": taps, "wide": vectors}
    return {"call": 1, "taps": taps, "vectors" if g.stride == (1, 1) else "strided": vectors}


def _dense(request: Request) -> dict[str, float]:
    assert request.reach is not None
    g, lanes = request.geometry, _lanes(request)
    height, width = g.output_size
    area = reach_area(request.reach)
    pairs = g.out_channels * (g.in_channels / g.groups)
    shapes = (1 if request.one_shape else g.in_channels) if request.shared else pairs
    (first_y, last_y), (first_x, last_x) = request.reach
    axes = shapes * g.taps * (last_y - first_y + last_x - first_x + 2) * (_WIDE if request.gaussian else 1)
    work = {"call": 1.0, "built": pairs * area * g.taps / lanes, "axes": axes}
    if not request.shared:
        work["pairs"] = pairs
    if request.dtype.itemsize == 8:
        column = g.batch * g.in_channels * height * width * area
        return work | {"product64": product_size(g, area) / lanes, "column64": column}
    kernels = g.out_channels // g.groups
    filled = -(-kernels // _BLOCK) * _BLOCK / kernels
    return work | {"product" if g.groups == 1 else "grouped": product_size(g, area) * filled / lanes}


def _gathered(request: Request) -> dict[str, float]:
    g, lanes = request.geometry, _lanes(request)
    (height, width), (out_height, out_width) = g.input_size, g.output_size
    planes = g.batch * g.in_channels * g.taps
    if not request.shared:
        planes *= g.out_channels // g.groups
    small = planes * out_height * width * (height + out_width) / lanes
    moved = planes * out_height * (out_width + width)
    return {"call": 1, "small products": small, "moved": moved, "product": product_size(g, g.taps) / lanes}


_COUNTS: dict[str, Callable[[Request], dict[str, float]]] = {
    "sampled": _sampled,
    "blended": _blended,
    "sparse": _sparse,
    "dense": _dense,
    "gathered": _gathered,
}
