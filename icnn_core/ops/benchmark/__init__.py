"""The operator timed beside a convolution and its peers."""

from __future__ import annotations

from icnn_core.ops.benchmark.first_call import FirstCall, measure_first_call
from icnn_core.ops.benchmark.layers import (
    FULL_LAYERS,
    LAYERS,
    SPREADS,
    Case,
    Layer,
    find_layer,
    scaled_cases,
)
from icnn_core.ops.benchmark.memory import measure_peak
from icnn_core.ops.benchmark.methods import Method, make_methods
from icnn_core.ops.benchmark.roofline import Roofline, measure_roofline
from icnn_core.ops.benchmark.timing import Timing, describe_machine, time_case

__all__ = [
    "FULL_LAYERS",
    "LAYERS",
    "SPREADS",
    "Case",
    "FirstCall",
    "Layer",
    "Method",
    "Roofline",
    "Timing",
    "describe_machine",
    "find_layer",
    "make_methods",
    "measure_first_call",
    "measure_peak",
    "measure_roofline",
    "scaled_cases",
    "time_case",
]
