"""The Triton kernels compiled for five architectures by Triton's own assembler, which needs no GPU.

The interpreter runs what the compiler refuses, and knows nothing of registers. A tenth of all kernels, block sizes and
dtypes is compiled here; `pytest -m compile_all` compiles every one. What it compiles, Triton keeps on disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compile_kernels.py"
PARTS = [(80, 3), (86, 17), (90, 1), (90, 30), (100, 41), (120, 9)]  # architecture, which of 50
SHARED_MEMORY = {80: 163, 86: 99, 90: 227, 100: 227, 120: 99}  # KiB that a block may have
REGISTERS = 255  # that a thread may have


def compile_parts(*parts: tuple[int, str]) -> list[dict[str, Any]]:
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, SCRIPT, "--arch", *(str(arch) for arch, _ in parts)]
    command += ["--part", *(part for _, part in parts)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_first_choice(options: dict[str, Any]) -> bool:
    """Other blocks of the kernel that samples and multiplies are taken only where they were measured to be faster."""
    from icnn_core.ops.fused.tuning import candidates

    return "KERNELS" not in options or options["PIXELS"] == candidates(options["KERNELS"])[0].pixels


def check(found: list[dict[str, Any]], arch: int) -> None:
    for each in found:
        assert each["arch"] == arch
        assert each["spilled"] == 0 or not is_first_choice(each["options"]), each
        assert each["registers"] <= REGISTERS, each
        assert each["shared"] <= SHARED_MEMORY[arch] << 10, each
        multiplies = each["kernel"] == "forward_kernel" and each["kind"] != "float32"
        assert each["matrix"] == multiplies, each


@pytest.fixture(scope="module")
def tenth() -> list[dict[str, Any]]:
    return compile_parts(*((arch, f"{part}/50") for arch, part in PARTS))


@pytest.mark.parametrize("arch", SHARED_MEMORY)
def test_a_tenth_compiles_fits_and_does_not_spill(tenth, arch):
    found = [each for each in tenth if each["arch"] == arch]
    assert len(found) >= sum(arch == other for other, _ in PARTS)
    check(found, arch)


@pytest.mark.compile_all
@pytest.mark.parametrize("arch", SHARED_MEMORY)
def test_all_compile_fit_and_do_not_spill(arch):
    found = compile_parts((arch, "0/1"))
    assert {each["kernel"] for each in found} == {
        "copy_kernel", "column_kernel", "gather_kernel", "narrow_kernel", "forward_kernel",
    }  # fmt: skip
    check(found, arch)
