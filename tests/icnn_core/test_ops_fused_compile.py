"""Every configuration of the Triton kernels compiled for an H100 or H200 (sm_90), which needs no GPU.

The interpreter runs what the compiler refuses, and knows nothing of registers. This file runs itself in child processes
(with the name of a call), because it gives Triton a driver without a device. What it compiles, Triton keeps on disk.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from icnn_core.ops import fused
from icnn_core.ops.geometry import Geometry

SHARED_MEMORY = 227 * 1024  # bytes a block may have on sm_90
REGISTERS = 255  # a thread may have
CALLS: dict[str, dict[str, Any]] = {
    "bfloat16": {"dtype": torch.bfloat16},
    "float16, strided": {"dtype": torch.float16, "stride": (2, 1)},
    "tf32": {"dtype": torch.float32},
    "tf32, strided": {"dtype": torch.float32, "stride": (2, 1)},
    "float32": {"dtype": torch.float32, "precision": "ieee"},
    "depthwise": {"dtype": torch.bfloat16, "groups": 16, "matrix": False},
}


def compile_call(name: str) -> list[dict[str, Any]]:
    """In the child: what every kernel that serves a call takes, per configuration, without launching any."""
    import triton
    from triton.backends.compiler import GPUTarget

    from icnn_core.ops.fused import operands, passes, tuning

    class NoDevice:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

    triton.runtime.driver.set_active(NoDevice())
    found: list[dict[str, Any]] = []
    config: list[tuple[int, ...]] = []

    def launch(kernel: Any, programs: int, *arguments: object, **options: Any) -> None:
        compiled = kernel.warmup(*arguments, grid=(programs,), **options)
        found.append({"kernel": kernel.__name__, "config": [*config], **_usage(compiled)})

    def run_all(kernel: str, unit: str, *rest: Any) -> object:
        results = []
        for each in tuning.CONFIGS[kernel, unit]:
            config[:] = vars(each).values()
            results.append(rest[-1](each))
        config.clear()
        return results[-1]

    passes.launch = operands.launch = launch
    tuning.run_fastest = run_all
    _run(**CALLS[name])
    return found


def _run(
    dtype: torch.dtype,
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
    precision: str = "tf32",
    matrix: bool = True,
) -> None:
    torch.backends.cudnn.conv.fp32_precision = precision
    geometry = Geometry(2, 16, 16, (9, 11), (3, 2), stride, (1, 1), (1, 1), groups)
    x, weight = torch.zeros(2, 16, 9, 11, dtype=dtype), torch.zeros(16, 16 // groups, 3, 2, dtype=dtype)
    positions, bias = torch.zeros(16, 6, 2), torch.zeros(16, dtype=dtype)
    out = fused.forward(x, weight, positions, bias, geometry)
    fused.backward(out, x, weight, positions, geometry, (True, True, True, True))


def _usage(compiled: Any) -> dict[str, int]:
    """Registers a thread, bytes of stack (where registers spill to) and of shared memory a block."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        command = [tool, "--dump-resource-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    numbers = {name: int(number) for name, number in re.findall(r"(REG|STACK):(\d+)", text)}
    return {"registers": numbers["REG"], "stack": numbers["STACK"], "shared": compiled.metadata.shared}


@pytest.mark.parametrize("name", CALLS)
def test_compiles_for_sm_90_without_spills(name):
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, __file__, name]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    print(*map(_line, found), sep="\n")
    from icnn_core.ops.fused import tuning

    unit = "scalar" if name == "float32" else "matrix"
    wanted = {
        (f"{kernel}_kernel", *vars(config).values())
        for (kernel, its_unit), configs in tuning.CONFIGS.items()
        for config in configs
        if its_unit == unit and CALLS[name].get("matrix", True)
    }
    assert {(each["kernel"], *each["config"]) for each in found if each["config"]} == wanted
    alone = {"copy_kernel", "split_kernel", "gather_kernel", *([] if wanted else ["depthwise_kernel"])}
    assert {each["kernel"] for each in found if not each["config"]} == alone
    for each in found:
        assert each["stack"] == 0, each
        assert each["registers"] <= REGISTERS, each
        assert each["shared"] <= SHARED_MEMORY, each


def _line(each: dict[str, Any]) -> str:
    names = ("kernels", "pixels", "rows", "warps", "stages")
    config = ", ".join(f"{number} {name}" for name, number in zip(names, each["config"], strict=False))
    took = f"{each['registers']} registers, {each['stack']} bytes of stack, {each['shared']} of shared memory"
    return f"{each['kernel']} ({config}): {took}"


if __name__ == "__main__":
    for row in compile_call(sys.argv[1]):
        print(json.dumps(row))
