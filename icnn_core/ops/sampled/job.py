"""What a compiled pass is told: addresses and sizes, as records of 64-bit integers; and how its work is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icnn_core.ops.compiled.layout import VECTOR_BYTES, even_share, lay_out_sheet, round_up
from icnn_core.ops.geometry import Geometry

_NAMES = """
    counters x weight bias out grad_out grad_x grad_weight grad_positions floors fractions gemm scratch
    batch channels kernels groups height width out_height out_width taps shapes step_y step_x
    needs_x needs_weight needs_positions
    block_rows block_channels block_kernels tile_pitch tile_size
    margin phase_width pitch row_length origin sheet_size scratch_bytes
"""
_FIELDS = _NAMES.split()
JOB = np.dtype([(name, np.int64) for name in _FIELDS])

_TILE_BYTES = 1 << 20  # half a typical second-level cache
_BLOCK_PIXELS = 2048  # as many columns as let BLAS run at full speed
_LEAST_PIXELS = 200
_MOST_PARTS = 8  # that kernels are cut into where there are more threads than blocks of rows
_MULTIPLY_ADDS_PER_SAMPLE = 32  # that take as long; parts of the kernels sample the same
_UNITS_PER_THREAD = 2  # so that a thread that was held up is helped by the others
_MANY_UNITS = 4  # per thread: then it hardly matters that the last round leaves some idle
NEAR_SIZE_PER_TAP = 32  # numbers that a kernel of near taps may have at most, see `near`
NEAR_ROWS, NEAR_VECTORS = 4, 3  # of the largest block of sums
_MOST_DEPTHWISE_KERNELS = 4  # per channel; with more of them, BLAS pays


@dataclass(frozen=True)
class Plan:
    """How one pass is done.

    Attributes:
        code: the compiled pass, see `compiled.team.find_pass`.
        record: the job's sizes by field; addresses are still missing.
        back: the second record that depthwise passes want, else empty.
        units: into how many pieces the work is cut.
    """

    code: str
    record: dict[str, int]
    back: dict[str, int]
    units: int

    def pack(self, addresses: dict[str, int]) -> np.ndarray:
        """The records that the compiled code reads; what was not set is 0."""
        records = self.record | addresses, self.back
        return np.array([tuple(record.get(name, 0) for name in _FIELDS) for record in records], JOB)


def make_plan(name: str, geometry: Geometry, shapes: int, itemsize: int, threads: int) -> Plan:
    """Plan the pass `name` ("forward" or "backward") with `shapes` shapes of positions, numbers of `itemsize` bytes."""
    job = _describe(geometry, shapes)
    job |= _lay_out_sheet(job, itemsize)
    if (
        geometry.groups == geometry.in_channels
        and geometry.out_channels <= _MOST_DEPTHWISE_KERNELS * geometry.groups
    ):
        back = _mirror(job)
        back |= _lay_out_sheet(back, itemsize)
        sums = max(job["out_height"] * job["margin"], job["height"] * back["margin"])
        size = job["sheet_size"] + back["sheet_size"] + job["out_height"] * job["margin"] + sums
        size += NEAR_ROWS * NEAR_VECTORS * VECTOR_BYTES // itemsize + NEAR_SIZE_PER_TAP * job["taps"]
        table_bytes = 64 * job["taps"]
        job["scratch_bytes"] = table_bytes + round_up(size * itemsize, VECTOR_BYTES)
        return Plan(f"sampled.depthwise.{name}", job, back, geometry.in_channels)
    units = _cut_rows(job, itemsize, threads) if name == "forward" else _cut_channels(job, itemsize, threads)
    size = 2 * (job["sheet_size"] + job["tile_size"]) + job["margin"]
    job["scratch_bytes"] = round_up(size * itemsize, VECTOR_BYTES)
    return Plan(f"sampled.columns.{name}", job, {}, units)


def _describe(geometry: Geometry, shapes: int) -> dict[str, int]:
    names = "batch channels kernels groups taps shapes height width out_height out_width step_y step_x"
    g = geometry
    sizes = (g.batch, g.in_channels, g.out_channels, g.groups, g.taps, shapes)
    return dict(zip(names.split(), (*sizes, *g.input_size, *g.output_size, *g.stride), strict=True))


def _mirror(job: dict[str, int]) -> dict[str, int]:
    """The way back of a depthwise layer: from its gradients, with zeros between them, to its input's."""
    height, width = (job["out_height"] - 1) * job["step_y"] + 1, (job["out_width"] - 1) * job["step_x"] + 1
    sizes = {"height": height, "width": width, "out_height": job["height"], "out_width": job["width"]}
    return job | sizes | {"step_y": 1, "step_x": 1}


def _lay_out_sheet(job: dict[str, int], itemsize: int) -> dict[str, int]:
    lanes = VECTOR_BYTES // itemsize
    return lay_out_sheet(job, (job["out_width"] // lanes + 1) * lanes, 1, itemsize)


def _cut_rows(job: dict[str, int], itemsize: int, threads: int) -> int:
    """Cut the forward pass into blocks of output rows of one image and group; returns how many.

    Into as few as keep all threads busy to the end: each block copies its channels' rows anew. Where rows do not
    suffice for all threads, the kernels are cut as well, if that pays, for then some threads sample the same.
    """
    images = job["batch"] * job["groups"]
    parts = 1
    while images * parts % threads and images * parts < _MANY_UNITS * threads:
        parts += 1
    most = max(-(-job["out_height"] // parts), -(-_LEAST_PIXELS // job["out_width"]))
    _choose_tile(job, itemsize, min(most, max(1, _BLOCK_PIXELS // job["out_width"])), job["channels"])
    units = images * -(-job["out_height"] // job["block_rows"])
    kernels = job["kernels"] // job["groups"]
    parts = min(
        range(1, _MOST_PARTS + 1),
        key=lambda parts: -(-units * parts // threads) * (1 / parts + _MULTIPLY_ADDS_PER_SAMPLE / kernels),
    )
    job["block_kernels"] = -(-kernels // parts)
    return units * -(-kernels // job["block_kernels"])


def _cut_channels(job: dict[str, int], itemsize: int, threads: int) -> int:
    """Cut the backward pass into blocks of one group's channels, all images; returns how many."""
    per_group = job["channels"] // job["groups"]
    wanted = -(-_UNITS_PER_THREAD * threads // job["groups"]) if threads > 1 else 1
    _choose_tile(job, itemsize, max(1, _BLOCK_PIXELS // job["out_width"]), -(-per_group // wanted))
    return job["groups"] * -(-per_group // job["block_channels"])


def _choose_tile(job: dict[str, int], itemsize: int, most_rows: int, most_channels: int) -> None:
    lanes = VECTOR_BYTES // itemsize
    rows = even_share(job["out_height"], most_rows)
    pixels = rows * job["out_width"]
    fitting = max(1, _TILE_BYTES // itemsize // (job["taps"] * pixels))
    channels = even_share(job["channels"] // job["groups"], min(fitting, most_channels))
    pitch = round_up(pixels, lanes) + 2 * lanes
    job |= {"block_rows": rows, "block_channels": channels, "tile_pitch": pitch}
    job["tile_size"] = channels * job["taps"] * pitch
