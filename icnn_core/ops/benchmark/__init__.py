"""The operator timed beside a convolution and its peers."""

from __future__ import annotations

from icnn_core.ops.benchmark.layers import LAYERS, SPREADS, Case, Layer, find_layer, scaled_cases
from icnn_core.ops.benchmark.memory import measure_peak
from icnn_core.ops.benchmark.methods import Method, make_methods
from icnn_core.ops.benchmark.timing import Timing, describe_machine, time_case

__all__ = [
    "LAYERS",
    "SPREADS",
    "Case",
    "Layer",
    "Method",
    "Timing",
    "describe_machine",
    "find_layer",
    "make_methods",
    "measure_peak",
    "scaled_cases",
    "time_case",
]
