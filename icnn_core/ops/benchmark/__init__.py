"""The operator timed beside a convolution and its peers."""

from __future__ import annotations

from icnn_core.ops.benchmark.layers import LAYERS, SPREADS, Case, Layer, find_layer
from icnn_core.ops.benchmark.methods import Method, make_methods
from icnn_core.ops.benchmark.timing import Timing, describe_machine, run_once, time_case

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
    "run_once",
    "time_case",
]
