"""What a compiled pass is told: addresses and sizes, as a record of 64-bit integers; and how its work is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icnn_core.ops.compiled.layout import VECTOR_BYTES, even_share, lay_out_sheet, round_up
from icnn_core.ops.geometry import Geometry
from icnn_core.ops.sparse.block import find_height

_NAMES = """
    counters source target weight bias positions sigma grad_out grad_weight grad_positions grad_sigma scratch
    precise back
    batch groups sources targets source_pairs target_pairs taps
    source_height source_width apart_y apart_x height width out_height out_width step_y step_x first_y first_x
    block_sources block_targets block_rows rows
    margin phase_width pitch row_length origin sheet_size sums_pitch sums_size grads_size table_bytes scratch_bytes
"""
_FIELDS = _NAMES.split()
_CENTRE = ("centre_y", "centre_x")
JOB = np.dtype([*((name, np.int64) for name in _FIELDS), *((name, np.float64) for name in _CENTRE)])

_SHEETS_BYTES = 32 << 10  # of the pixels of a block of sources, so that they stay in the first-level cache
_SUMS_BYTES = 256 << 10  # of a block of targets, so that they stay in the second-level cache
_LEAST_PIXELS = 1600  # of a unit of work: what its taps read is found once for all of them
TAPS_AT_ONCE = 64  # whose products are summed together, so that their sums stay in the first-level cache
_HEAD_BYTES = TAPS_AT_ONCE * (32 + 4 * VECTOR_BYTES)  # of their offsets and sums, or of one Gaussian tap's
_UNITS_PER_THREAD = 4  # so that a thread that was held up is helped by the others


@dataclass(frozen=True)
class Plan:
    """How one pass is done: the job's sizes by field, addresses still missing; and into how many units it is cut."""

    record: dict[str, float]
    units: int

    def pack(self, addresses: dict[str, int]) -> np.ndarray:
        """The record that the compiled code reads; what was not set is 0."""
        numbers = self.record | addresses
        return np.array([tuple(numbers.get(name, 0) for name in (*_FIELDS, *_CENTRE))], JOB)


def plan_planes(geometry: Geometry, window: tuple[int, int], back: bool, itemsize: int, threads: int) -> Plan:
    """Plan sums of shifted planes: the output's, or with `back` those of the gradient of x.

    On the way back the gradients are the sources, with `stride - 1` zeros between any two, and taps read mirrored.
    A unit is some rows of a block of one image's and group's targets.
    """
    taps_wide = window[1] - window[0] + 1
    job = _describe(geometry, window)
    if back:
        job = _mirror(job)
    lanes = VECTOR_BYTES // itemsize
    height, width = job["out_height"], job["out_width"]
    pitch = round_up(width, lanes)
    bands = max(1, min(-(-height * width // _LEAST_PIXELS), height * pitch * itemsize * 8 // _SUMS_BYTES))
    job["block_rows"] = find_height(-(-height // bands), taps_wide, job["step_y"])
    job["rows"] = round_up(-(-height // bands), job["block_rows"])
    bands = -(-height // job["rows"])
    job |= {"sums_pitch": pitch, "sums_size": job["rows"] * pitch}
    span = (job["rows"] - 1) * job["step_y"] + taps_wide
    job |= lay_out_sheet(job, pitch, span, itemsize)
    _choose_sources(job, itemsize)
    parts = job["batch"] * job["groups"] * bands
    wanted = -(-_UNITS_PER_THREAD * threads // parts) if threads > 1 else 1
    fitting = max(1, _SUMS_BYTES // (job["sums_size"] * itemsize))
    job["block_targets"] = even_share(job["targets"], min(fitting, -(-job["targets"] // wanted)))
    entry = taps_wide * (8 + 2 * itemsize)
    most = job["block_sources"] * job["taps"]
    job["table_bytes"] = round_up(job["block_targets"] * (8 + most * entry), VECTOR_BYTES)
    numbers = job["block_targets"] * job["sums_size"] + job["block_sources"] * job["sheet_size"]
    job["scratch_bytes"] = job["table_bytes"] + round_up(numbers * itemsize, VECTOR_BYTES)
    return Plan(job | _centre(geometry), parts * -(-job["targets"] // job["block_targets"]))


def plan_products(geometry: Geometry, window: tuple[int, int], itemsize: int, threads: int) -> Plan:
    """Plan the gradients of weights and positions, products of planes: a unit is a block of one group's kernels."""
    taps_wide = window[1] - window[0] + 1
    job = _describe(geometry, window)
    lanes = VECTOR_BYTES // itemsize
    pitch = round_up(job["out_width"], lanes)
    job["block_rows"] = find_height(job["out_height"], taps_wide, job["step_y"])
    job["rows"] = round_up(job["out_height"], job["block_rows"])
    # Only what reads the image is looked at, or whole blocks:
    span = taps_wide if taps_wide > 2 else job["rows"] + 1
    job |= lay_out_sheet(job, pitch, span, itemsize)
    _choose_sources(job, itemsize)
    job |= {"sums_pitch": pitch, "grads_size": (job["rows"] + 2 * taps_wide) * pitch}
    wanted = -(-_UNITS_PER_THREAD * threads // job["groups"]) if threads > 1 else 1
    job["block_targets"] = even_share(job["targets"], -(-job["targets"] // wanted))
    job["table_bytes"] = _HEAD_BYTES
    numbers = job["grads_size"] + job["block_sources"] * job["sheet_size"]
    job["scratch_bytes"] = _HEAD_BYTES + round_up(numbers * itemsize, VECTOR_BYTES)
    return Plan(job | _centre(geometry), job["groups"] * -(-job["targets"] // job["block_targets"]))


def _centre(geometry: Geometry) -> dict[str, float]:
    return dict(zip(_CENTRE, geometry.centre, strict=True))


def _describe(geometry: Geometry, window: tuple[int, int]) -> dict[str, int]:
    g = geometry
    channels, kernels = g.in_channels // g.groups, g.out_channels // g.groups
    names = "source_height source_width height width out_height out_width step_y step_x"
    job = dict(zip(names.split(), (*g.input_size, *g.input_size, *g.output_size, *g.stride), strict=True))
    job |= {"batch": g.batch, "groups": g.groups, "taps": g.taps, "apart_y": 1, "apart_x": 1}
    job |= {"sources": channels, "targets": kernels, "source_pairs": 1, "target_pairs": channels}
    return job | {f"first_{axis}": window[0] - pad for axis, pad in zip("yx", g.padding, strict=True)}


def _mirror(job: dict[str, int]) -> dict[str, int]:
    height, width = (
        (job[f"out_{side}"] - 1) * job[f"step_{axis}"] + 1 for side, axis in (("height", "y"), ("width", "x"))
    )
    changed = {"source_height": job["out_height"], "source_width": job["out_width"]}
    changed |= {"apart_y": job["step_y"], "apart_x": job["step_x"], "height": height, "width": width}
    changed |= {"out_height": job["height"], "out_width": job["width"], "step_y": 1, "step_x": 1, "back": 1}
    changed |= {"sources": job["targets"], "targets": job["sources"]}
    return job | changed | {"source_pairs": job["target_pairs"], "target_pairs": job["source_pairs"]}


def _choose_sources(job: dict[str, int], itemsize: int) -> None:
    touched = job["height"] * (round_up(job["width"] * itemsize, VECTOR_BYTES) + VECTOR_BYTES)
    job["block_sources"] = even_share(job["sources"], max(1, _SHEETS_BYTES // touched))
