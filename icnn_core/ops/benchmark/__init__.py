"""The operator timed beside a convolution and its peers."""

from __future__ import annotations

from icnn_core.ops.benchmark.layers import (
    FULL_LAYERS,
    LAYERS,
    SPREADS,
    Case,
    Layer,
    find_layer,
    scaled_cases,
)
from icnn_core.ops.benchmark.methods import Method, make_methods
from icnn_core.ops.benchmark.timing import Timing, describe_machine, run_once, time_case

__all__ = [
    "FULL_LAYERS",
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
    "scaled_cases",
    "time_case",
]
