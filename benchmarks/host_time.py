"""The host's time in a layer's passes on CUDA, with every launch and product replaced by nothing. No GPU needed.

    python benchmarks/host_time.py [--rounds 300]

What remains is Python: the choice of a back end, PyTorch's dispatcher and autograd, the allocation of tensors (on the
CPU), cutting, and the look-up of launches that are kept. Prints medians of milliseconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"  # so that a call on the CPU may be served; nothing is interpreted

import torch
from torch import Tensor

from icnn_core.ops import irregular_conv, irregular_conv2d
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.benchmark import LAYERS
from icnn_core.ops.fused import launching, passes, products

NAMES = ("res4", "res5", "fc1", "shallow", "depthwise")


class Nothing:
    """A compiled kernel, and a driver, that do nothing."""

    function = packed_metadata = None

    def run(self, *arguments: object) -> None:
        return None

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def replace_launches() -> None:
    """Of this process: a call on the CPU then costs what one on a GPU costs the host."""
    nothing = Nothing()
    launching.Launch.compile_and_run = lambda self, *tensors: nothing
    launching.driver = type("Driver", (), {"active": nothing})
    passes.workspace_bytes = lambda device: (50 << 20) // 3
    products.torch = Products()  # pyright: ignore[reportAttributeAccessIssue]
    irregular_conv.choose_unseen = lambda request: BACKENDS["fused"]


class Products:
    """torch, but its products do nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def mm(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
        return left.new_empty(len(left), right.shape[1]) if out is None else out

    @staticmethod
    def bmm(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
        return left.new_empty(*left.shape[:2], right.shape[2]) if out is None else out


def measure(name: str, rounds: int) -> tuple[float, float]:
    """Median milliseconds of a forward pass, and of forward and backward, of a layer of one image."""
    layer = dataclasses.replace(LAYERS[name], batch=1)
    shape = layer.out_channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel
    x = torch.zeros(1, layer.in_channels, layer.size, layer.size, dtype=torch.bfloat16)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    leaves = x, torch.zeros(shape, dtype=x.dtype), torch.zeros(layer.in_channels, layer.taps, 2)
    for leaf in leaves:
        leaf.requires_grad_()
    sizes: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    grad_out, forward, both = None, [], []
    for _ in range(rounds):
        start = time.perf_counter()
        out = irregular_conv2d(*leaves, **sizes)
        middle = time.perf_counter()
        grad_out = torch.zeros_like(out) if grad_out is None else grad_out
        resumed = time.perf_counter()
        torch.autograd.grad(out, leaves, grad_out)
        end = time.perf_counter()
        forward.append(1e3 * (middle - start))
        both.append(1e3 * (middle - start + end - resumed))
    return statistics.median(forward), statistics.median(both)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    replace_launches()
    torch.set_num_threads(1)
    print("| layer | forward, ms | forward and backward, ms |\n|---|---|---|")
    for name in NAMES:
        forward, both = measure(name, rounds)
        print(f"| {name} | {forward:.3f} | {both:.3f} |", flush=True)


if __name__ == "__main__":
    main()
