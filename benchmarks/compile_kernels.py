"""The Triton kernels of the CUDA back end compiled without a GPU, and what the machine code says of them.

    python benchmarks/compile_kernels.py --arch 90 [--part 3/10]

compiles every kernel that some call of every kind would launch, all block sizes and dtypes, by Triton's own compiler
and assembler, and prints a line of JSON for each. Both options take several: `--arch 80 90 --part 3/10 5/10`.
In a process of its own: Triton gets a driver without a device.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icnn_core.ops import fused
from icnn_core.ops.geometry import Geometry

ARCHITECTURES = {80: 163, 86: 99, 90: 227, 100: 227, 120: 99}
"""Compute capability, ten times -> KiB of shared memory that a block may have there."""
_KINDS = {
    "bfloat16": (torch.bfloat16, "ieee"),
    "float16": (torch.float16, "ieee"),
    "tf32": (torch.float32, "tf32"),
    "float32": (torch.float32, "ieee"),
}
_LAYERS = {  # C_in, C_out, groups: one of each way to be served
    "columns": (32, 80, 1), "64 kernels": (32, 40, 1), "32 kernels": (32, 21, 1), "16 kernels": (32, 9, 1),
    "depthwise": (32, 32, 32), "two kernels a channel": (32, 64, 32), "one kernel": (32, 1, 1),
}  # fmt: skip
Recorded = tuple[Any, tuple[Any, ...]]
"""A launch and the tensors it is given."""
_MATRIX = re.compile(r"\b(mma\.sync|wgmma\.mma_async|tcgen05\.mma)")


@dataclass(frozen=True)
class Compiled:
    """A kernel's machine code.

    Attributes:
        kernel: its name; `options` what it was specialised for, `kind` the dtype that its call computes in.
        registers: of a thread. spilled: instructions that move registers to memory and back. shared: bytes of a block.
        matrix: whether it uses matrix units.
    """

    kernel: str
    kind: str
    arch: int
    options: dict[str, Any]
    registers: int
    spilled: int
    shared: int
    matrix: bool


def launches(kind: str, layer: str, stride: tuple[int, int], last: bool) -> list[Recorded]:
    """Every launch of a layer's two passes, with channels_last images or contiguous ones."""
    dtype, precision = _KINDS[kind]
    c_in, c_out, groups = _LAYERS[layer]
    torch.backends.cudnn.conv.fp32_precision = precision  # pyright: ignore[reportAttributeAccessIssue]
    geometry = Geometry(2, c_in, c_out, (33, 31), (3, 3), stride, (1, 1), (1, 1), groups)
    return record(lambda: run_passes(geometry, dtype, last=last))


def run_passes(
    geometry: Geometry, dtype: torch.dtype, *, last: bool, backward: bool = True, bias: bool = True
) -> None:
    """A forward pass, and a backward one, on tensors without memory."""
    g = geometry
    form = torch.channels_last if last else torch.contiguous_format
    x = torch.empty((g.batch, g.in_channels, *g.input_size), dtype=dtype, device="meta", memory_format=form)
    weight = torch.empty(
        g.out_channels, g.in_channels // g.groups, *g.kernel_size, dtype=dtype, device="meta"
    )
    positions = torch.empty(g.in_channels, g.taps, 2, device="meta")
    added = torch.empty(g.out_channels, dtype=dtype, device="meta") if bias else None
    out = fused.forward(x, weight, positions, added, g)
    if backward:
        fused.backward(out, x, weight, positions, g, (True, True, True, bias))


def record(run: Callable[[], object], *, every_way: bool = True) -> list[Recorded]:
    """What `run` would launch; with `every_way` all block sizes of it, else the first choice. Nothing runs."""
    from icnn_core.ops.fused import launching, tuning

    found: list[Recorded] = []
    usual = launching.Launch.__call__, tuning.run_fastest

    def run_all(key: str, ways: dict[str, Callable[[], Tensor]], device: torch.device) -> Tensor:
        results = [way() for way in list(ways.values())[: None if every_way else 1]]
        return results[0]

    def note(launch: launching.Launch, *tensors: Tensor | None) -> None:
        found.append((launch, tensors))

    launching.Launch.__call__ = note  # pyright: ignore[reportAttributeAccessIssue]
    tuning.run_fastest = run_all
    try:
        run()
    finally:
        launching.Launch.__call__, tuning.run_fastest = usual
    return found


def distinct() -> dict[str, tuple[str, Recorded]]:
    """What a call of some kind would compile, each once: key -> kind and launch."""
    found: dict[str, tuple[str, Recorded]] = {}
    for kind in _KINDS:
        for layer in _LAYERS:
            for stride in ((1, 1), (2, 1)):
                for last in (False, True):
                    for recorded in launches(kind, layer, stride, last):
                        found.setdefault(specialised_for(recorded), (kind, recorded))
    return found


def specialised_for(recorded: Recorded) -> str:
    """What decides which machine code a launch runs."""
    from icnn_core.ops.fused.sampling import SIZES

    launch, tensors = recorded
    named = zip(launch.kernel.arg_names, (*tensors, *launch.sizes), strict=False)
    key = [_class_of(argument) for name, argument in named if name not in SIZES]
    return f"{launch.kernel.__name__} {launch.options} {' '.join(key)}"


def _class_of(argument: object) -> str:
    """What Triton specialises a kernel for."""
    if isinstance(argument, Tensor):
        return str(argument.dtype)
    if not isinstance(argument, int):
        return str(argument is None)
    return "1" if argument == 1 else str(argument % 16 == 0)


def compile_for(arch: int, jobs: Sequence[tuple[str, Recorded]]) -> Iterator[tuple[Compiled, Any]]:
    """Compile kinds and launches of `distinct` for an architecture; each with Triton's own record of it.

    Raises:
        Whatever Triton's compiler raises.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    class NoDevice:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", arch, 32)

        def get_current_device(self) -> int:
            return arch

        def get_current_stream(self, device: int) -> int:
            return 0

    triton.runtime.driver.set_active(NoDevice())  # pyright: ignore[reportArgumentType]
    for kind, (launch, tensors) in jobs:
        made = launch.kernel.warmup(*tensors, *launch.sizes, grid=(1,), **launch.options)
        matrix = bool(_MATRIX.search(made.asm["ptx"]))
        yield (
            Compiled(launch.kernel.__name__, kind, arch, launch.options, matrix=matrix, **_usage(made)),
            made,
        )


def _usage(made: Any) -> dict[str, int]:
    registers = re.search(r"REG:(\d+)", disassemble(made, "--dump-resource-usage"))
    assert registers is not None
    spilled = len(re.findall(r"\b(?:STL|LDL)\b", disassemble(made, "--dump-sass")))
    return {"registers": int(registers[1]), "spilled": spilled, "shared": made.metadata.shared}


def disassemble(made: Any, option: str) -> str:
    """What `cuobjdump`, which comes with Triton, says of a compiled kernel."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        return subprocess.run([tool, option, file.name], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Compile, and print a line of JSON a kernel."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", type=int, choices=ARCHITECTURES, required=True, nargs="+")
    parser.add_argument("--part", nargs="+", help="for each of them, which part of how many, counted from 0")
    chosen = parser.parse_args()
    ways, wanted = list(distinct().values()), chosen.part or ["0/1"] * len(chosen.arch)
    for arch, of in zip(chosen.arch, wanted, strict=True):
        part, parts = map(int, of.split("/"))
        for compiled, _ in compile_for(arch, ways[part::parts]):
            print(json.dumps(asdict(compiled)), flush=True)


if __name__ == "__main__":
    main()
