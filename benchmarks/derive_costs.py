"""What the CUDA back end should cost, derived without a GPU: to be held against a measurement.

    python benchmarks/derive_costs.py [--batch 16]

Compiles every kernel that a layer launches for sm_90, counts the instructions that its loop takes a sample, adds the
bytes that move and the products, and divides by what an H100 can do. Prints a table of predicted times over a
convolution's, and writes docs/benchmarks/derive_costs.json. Nothing here was measured.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from compile_kernels import Recorded, compile_for, disassemble, record, run_passes, specialised_for
from torch.utils._python_dispatch import TorchDispatchMode

from icnn_core.errors import DataError
from icnn_core.files import write_text
from icnn_core.ops.benchmark import LAYERS, Layer
from icnn_core.ops.geometry import Geometry

OUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "derive_costs.json"
DTYPES = {"bf16": (torch.bfloat16, "ieee"), "tf32": (torch.float32, "tf32")}


@dataclass(frozen=True)
class Machine:
    """What an H100 SXM is assumed to do. Rates are a second; `share` is what a good kernel reaches of the peak."""

    instructions: float = 132 * 4 * 32 * 1.755e9  # of one lane
    share_of_instructions: float = 0.75
    bf16: float = 989e12
    tf32: float = 494e12
    share_of_products: float = 0.65  # cuBLAS and cuDNN alike
    cache_bytes: float = 5.5e12
    memory_bytes: float = 3.0e12
    seconds_a_launch: float = 1.5e-6  # between two kernels of a full queue
    workspace: int = (50 << 20) // 3


H100 = Machine()


class Products(TorchDispatchMode):
    """Notes the matrix products and other operations that launch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, float, int]] = []  # name, operations, bytes

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        found = function(*arguments, **(options or {}))
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm", "bmm", "baddbmm"):
            left, right = [t for t in arguments if isinstance(t, torch.Tensor)][-2:]
            size = found.element_size() * (left.numel() + right.numel() + found.numel())
            self.found.append((name, 2.0 * left.numel() * right.shape[-1], size))
        elif name in ("copy_", "add_", "sum", "_to_copy"):
            read = sum(t.numel() * t.element_size() for t in arguments if isinstance(t, torch.Tensor))
            self.found.append((name, 0.0, read + found.numel() * found.element_size()))
        return found


def instructions_a_sample(made: Any, recorded: Recorded) -> float:
    """Instructions of the longest loop, or of a kernel without one, over the pixels that a thread makes in it."""
    launch, _ = recorded
    code = [
        (int(at, 16), text)
        for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+);", disassemble(made, "--dump-sass"))
    ]
    longest = 0
    for at, text in code:
        target = re.search(r"\bBRA\S*\s+(?:`\(\S+\)|0x([0-9a-f]+))", text)
        if target and target[1] and int(target[1], 16) < at:
            longest = max(longest, sum(int(target[1], 16) <= other <= at for other, _ in code))
    o, threads = launch.options, 32 * launch.options["num_warps"]
    if "CHANNELS" in o:
        return len(code) / (o["CHANNELS"] * o["PIXELS"] / threads)
    pixels = o["ROWS"] * o["PIXELS"] if "ROWS" in o else 4 * o["LANES"]
    return longest / (pixels / threads)


_known: dict[str, float] = {}


def _instructions(kind: str, recorded: Recorded) -> float:
    """`instructions_a_sample`, compiled once for what Triton specialises a kernel for."""
    key = specialised_for(recorded)
    if key not in _known:
        ((_, made),) = compile_for(90, [(kind, recorded)])
        _known[key] = instructions_a_sample(made, recorded)
    return _known[key]


def pixels_of(recorded: Recorded) -> int:
    """Samples that a launch makes, those beyond the image's end included."""
    launch, _ = recorded
    o, named = (
        launch.options,
        dict(zip(launch.kernel.arg_names[len(recorded[1]) :], launch.sizes, strict=False)),
    )
    if "CHANNELS" in o:
        return launch.programs * o["CHANNELS"] * o["PIXELS"]
    if "ROWS" in o:
        return launch.programs * o["PIXELS"] * named["row_pitch"]
    return launch.programs * 4 * o["LANES"] * named.get("group_rows", named["taps"])


def bytes_of(recorded: Recorded) -> int:
    """What a launch moves between the L2 cache and the processors at least: its tensors once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in recorded[1] if tensor is not None)


def derive(layer: Layer, kind: str, *, backward: bool) -> dict[str, float]:
    """Milliseconds of every kernel and product of a layer's forward pass, or of both."""
    from icnn_core.ops.fused import passes

    dtype, precision = DTYPES[kind]
    torch.backends.cudnn.conv.fp32_precision = precision  # pyright: ignore[reportAttributeAccessIssue]
    passes.workspace_bytes = lambda device: H100.workspace
    square, kernel = (layer.size, layer.size), (layer.kernel, layer.kernel)
    padding, dilation = (layer.padding, layer.padding), (layer.dilation, layer.dilation)
    channels = layer.in_channels, layer.out_channels
    geometry = Geometry(layer.batch, *channels, square, kernel, (1, 1), padding, dilation, layer.groups)
    with Products() as products:
        found = record(
            lambda: run_passes(geometry, dtype, last=True, backward=backward, bias=False), every_way=False
        )
    times: dict[str, float] = {}
    peak = getattr(H100, kind) * H100.share_of_products
    for recorded in found:
        issue = pixels_of(recorded) * _instructions(kind, recorded)
        busy = issue / (H100.instructions * H100.share_of_instructions)
        seconds = max(busy, bytes_of(recorded) / H100.cache_bytes) + H100.seconds_a_launch
        name = recorded[0].kernel.__name__
        times[name] = times.get(name, 0.0) + 1e3 * seconds
    for name, operations, size in products.found:
        seconds = max(operations / peak, size / H100.cache_bytes) + H100.seconds_a_launch
        name = "products" if operations else "other"
        times[name] = times.get(name, 0.0) + 1e3 * seconds
    return times


def convolution(layer: Layer, kind: str, *, backward: bool) -> float:
    """Milliseconds of conv2d: its products, or its tensors once through memory, whichever is longer."""
    size = DTYPES[kind][0].itemsize
    images = layer.batch * layer.size**2 * (layer.in_channels + layer.out_channels) * size
    work = layer.operations / (getattr(H100, kind) * H100.share_of_products)
    passes = 3 if backward else 1
    return 1e3 * (passes * max(work, images / H100.memory_bytes) + passes * H100.seconds_a_launch)


def main() -> None:
    """Derive, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    found: dict[str, Any] = {"machine": asdict(H100), "batch": chosen.batch, "layers": {}}
    print("| layer | dtype | forward, ms | over conv2d | both, ms | over conv2d |\n|---|---|---|---|---|---|")
    for name in ("res4", "res5", "fc1", "shallow", "depthwise"):
        layer = Layer(**{**asdict(LAYERS[name]), "batch": chosen.batch})
        for kind in DTYPES:
            cells, each = [name, kind], {}
            for backward in (False, True):
                times, floor = (
                    derive(layer, kind, backward=backward),
                    convolution(layer, kind, backward=backward),
                )
                total = sum(times.values())
                each["both" if backward else "forward"] = {
                    "kernels": times,
                    "conv2d": floor,
                    "ratio": total / floor,
                }
                cells += [f"{total:.3f}", f"{total / floor:.2f}"]
            found["layers"][f"{name} {kind}"] = each
            print(f"| {' | '.join(cells)} |", flush=True)
    found["instructions a sample"] = _known
    write_text(chosen.out, json.dumps(found, indent=1) + "\n", DataError)


if __name__ == "__main__":
    main()
