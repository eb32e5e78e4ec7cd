"""Whether the CUDA back end is right on a GPU: passes and dtypes first, then what PyTorch does around them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from agreement import Largest, compare
from random_calls import draw_call
from torch import Tensor

from icnn_core.nn import IrregularConv2d
from icnn_core.ops import fused, gathered, irregular_conv2d
from icnn_core.ops.geometry import Geometry, regular_slots

DTYPES = {
    "bfloat16": (torch.bfloat16, "ieee", 0.03),
    "float16": (torch.float16, "ieee", 0.005),
    "tf32": (torch.float32, "tf32", 0.005),
    "float32": (torch.float32, "ieee", 1e-5),
}
"""Name -> dtype, precision of float32, and the difference allowed, relative and of norms."""
LAYERS: dict[str, dict[str, Any]] = {
    "columns": {
        "c_in": 96,
        "c_out": 128,
        "size": (41, 41),
        "dilation": (2, 2),
        "padding": (2, 2),
        "batch": 3,
    },
    "odd sizes": {
        "c_in": 70,
        "c_out": 85,
        "size": (37, 29),
        "kernel": (3, 2),
        "padding": (2, 1),
        "dilation": (2, 3),
    },
    "columns in many chunks": {
        "c_in": 2048,
        "c_out": 80,
        "size": (41, 41),
        "dilation": (12, 12),
        "padding": (12, 12),
    },
    "few kernels": {"c_in": 256, "c_out": 21, "size": (41, 41), "batch": 2},
    "groups": {"c_in": 48, "c_out": 240, "size": (30, 31), "groups": 3},
    "stride": {"c_in": 64, "c_out": 128, "size": (45, 43), "stride": (2, 1), "batch": 2},
    "stride along x": {"c_in": 24, "c_out": 80, "size": (23, 44), "stride": (1, 3)},
    "depthwise": {
        "c_in": 96,
        "c_out": 96,
        "size": (28, 28),
        "kernel": (7, 7),
        "padding": (3, 3),
        "groups": 96,
    },
    "depthwise, two kernels": {"c_in": 32, "c_out": 64, "size": (29, 31), "stride": (2, 2), "groups": 32},
    "one shape": {"c_in": 64, "c_out": 72, "size": (40, 41), "shapes": 1},
    "far": {"c_in": 32, "c_out": 80, "size": (33, 45), "spread": 20.0},
    "channels last": {"c_in": 64, "c_out": 72, "size": (31, 30), "last": True, "batch": 2},
}
NAMES = ("out", "x", "weight", "positions", "bias")
_RANDOM_CALLS = 60
_DRY: dict[str, dict[str, Any]] = {
    "columns": {"c_in": 1, "c_out": 70, "size": (3, 4), "kernel": (1, 2), "padding": (0, 1), "batch": 1},
    "few kernels": {"c_in": 2, "c_out": 5, "size": (3, 4), "kernel": (1, 2), "batch": 1},
    "depthwise": {"c_in": 2, "c_out": 2, "groups": 2, "size": (3, 4), "kernel": (2, 1)},
}
"""What is smaller where Triton's interpreter runs it."""


def make(
    device: torch.device, dtype: torch.dtype, *, c_in: int, c_out: int, size: tuple[int, int],
    kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1), padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1), groups: int = 1, batch: int = 1, shapes: int | None = None,
    spread: float = 1.5, last: bool = False,
) -> tuple[Geometry, list[Tensor], Tensor]:  # fmt: skip
    """Geometry; x, weight, positions, bias; the gradient of the output."""
    geometry = Geometry(batch, c_in, c_out, size, kernel, stride, padding, dilation, groups)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    positions = regular_slots(kernel, dilation) + spread * normal(shapes or c_in, geometry.taps, 2)
    weight = normal(c_out, c_in // groups, *kernel) / (c_in // groups * geometry.taps) ** 0.5
    tensors = normal(batch, c_in, *size), weight, normal(c_out), normal(batch, c_out, *geometry.output_size)
    x, weight, bias, grad_out = (tensor.to(device, dtype) for tensor in tensors)
    if last:
        x, grad_out = (image.to(memory_format=torch.channels_last) for image in (x, grad_out))
    return geometry, [x, weight, positions.to(device), bias], grad_out


def set_precision(name: str) -> None:
    """Of float32, as cuDNN and this operator read it."""
    torch.backends.cudnn.conv.fp32_precision = name  # pyright: ignore[reportAttributeAccessIssue]


def correctness(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every kind of layer in every dtype against native operations in float64; then random calls in roundings."""
    for layer, options in LAYERS.items():
        for name in DTYPES:
            if not dry:
                yield f"{layer}, {name}", lambda o=options, n=name: differences(device, n, o)
            elif name == "float32" and layer in _DRY:
                yield f"{layer}, {name}", lambda o=options | _DRY[layer], n=name: differences(device, n, o)
    yield "random calls", lambda: _random_calls(device, 2 if dry else _RANDOM_CALLS)


def differences(device: torch.device, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Relative differences of norms by tensor, and whether two runs agree to the bit.

    Raises:
        AssertionError: one is above what the dtype allows.
    """
    dtype, precision, allowed = DTYPES[kind]
    set_precision(precision)
    geometry, tensors, grad_out = make(device, dtype, **options)
    found, again = ([*_run(geometry, tensors, grad_out)] for _ in range(2))
    precise = [tensor.double().requires_grad_() for tensor in tensors]
    out = gathered.forward(precise[0], precise[1], precise[2], precise[3], geometry)
    expected = [out.detach(), *torch.autograd.grad(out, precise, grad_out.double())]
    norm = torch.linalg.vector_norm
    errors = {
        name: float(norm(mine.double() - other) / norm(other))
        for name, mine, other in zip(NAMES, found, expected, strict=True)
    }
    assert max(errors.values()) <= allowed, errors
    return {**errors, "repeats": all(map(torch.equal, found, again))}


def _run(geometry: Geometry, tensors: list[Tensor], grad_out: Tensor) -> Iterator[Tensor]:
    x, weight, positions, bias = tensors
    yield fused.forward(x, weight, positions, bias, geometry)
    for gradient in fused.backward(grad_out, x, weight, positions, geometry, (True, True, True, True)):
        assert gradient is not None
        yield gradient


def _random_calls(device: torch.device, count: int) -> dict[str, Any]:
    set_precision("ieee")
    largest = Largest()
    for seed in range(count):
        dtypes = (torch.float32, torch.bfloat16, torch.float16) if device.type == "cuda" else (torch.float32,)
        compare(draw_call(seed, small=True, dtypes=dtypes), ["fused"], largest, device)
    return largest.errors["fused"]


def at_home(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Streams, threads, autocast, second derivatives, torch.compile, graphs: each against the plain call."""
    channels, kernel, backend = (1, (1, 2), "fused") if dry else (24, (3, 3), None)
    layer = IrregularConv2d(channels, 80, kernel, padding=1, shift=0.4, backend=backend).to(device)
    x = torch.randn(1 if dry else 2, channels, 4 if dry else 9, 5 if dry else 10, device=device)
    yield "batch 0", lambda: list(layer(x[:0]).shape)
    yield "autocast", lambda: _autocast(layer, x)
    yield "two threads", lambda: _threads(layer, x, device)
    if dry:
        return
    yield "a stream of its own", lambda: _stream(layer, x)
    yield "no wait in a training step", lambda: _waits(layer, x)
    yield "a captured training step", lambda: _captured(layer, x)
    yield "make_graphed_callables", lambda: _graphed(layer, x)
    for mode in ("default", "reduce-overhead"):
        yield f"torch.compile, {mode}", lambda m=mode: _compiled(layer, x, m)


def _gradients(run: Callable[[Tensor], Tensor], layer: IrregularConv2d, x: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    out = run(x)
    return [out.detach().clone(), *torch.autograd.grad(out.float().square().sum(), [x, *layer.parameters()])]


def _worst(found: list[Tensor], expected: list[Tensor], allowed: float = 1e-5) -> float:
    norm = torch.linalg.vector_norm
    worst = max(
        float(norm(a.float() - b.float()) / norm(b.float())) for a, b in zip(found, expected, strict=True)
    )
    assert worst <= allowed, worst
    return worst


def _autocast(layer: IrregularConv2d, x: Tensor) -> float:
    def run(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return layer(x)

    return _worst(_gradients(run, layer, x), _gradients(layer, layer, x), 0.03)


def _threads(layer: IrregularConv2d, x: Tensor, device: torch.device) -> float:
    expected, found = _gradients(layer, layer, x), {}

    def work(name: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()) if device.type == "cuda" else torch.enable_grad():
            found[name] = _gradients(layer, layer, x)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return max(_worst(found[name], expected) for name in range(2))


def _stream(layer: IrregularConv2d, x: Tensor) -> float:
    expected, stream = _gradients(layer, layer, x), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = _gradients(layer, layer, x)
    stream.synchronize()
    return _worst(found, expected)


def _waits(layer: IrregularConv2d, x: Tensor) -> str:
    """A training step whose positions move, where every wait for the GPU is an error."""
    _gradients(layer, layer, x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            _gradients(layer, layer, x)
            with torch.no_grad():
                layer.positions.add_(0.01)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "none"


def _captured(layer: IrregularConv2d, x: Tensor) -> float:
    expected = _gradients(layer, layer, x)  # the one call before
    graph, static = torch.cuda.CUDAGraph(), x.clone()
    with torch.cuda.graph(graph):
        found = _gradients(layer, layer, static)
    graph.replay()
    torch.cuda.synchronize()
    first = _worst(found, expected)
    with torch.no_grad():
        layer.positions.add_(0.1)
    graph.replay()  # of the same graph, with positions that have moved since
    torch.cuda.synchronize()
    return max(first, _worst(found, _gradients(layer, layer, x)))


def _graphed(layer: IrregularConv2d, x: Tensor) -> float:
    expected = _gradients(layer, layer, x)
    copied = copy.deepcopy(layer)  # the call below changes what it is given
    graphed: Any = torch.cuda.make_graphed_callables(copied, (x.clone().requires_grad_(),))
    return _worst(_gradients(graphed, copied, x), expected)


def _compiled(layer: IrregularConv2d, x: Tensor, mode: str) -> float:
    def run(x: Tensor) -> Tensor:
        padding, dilation = layer.padding, layer.dilation
        assert not isinstance(padding, str)
        arguments = layer.weight, layer.positions, layer.bias
        return irregular_conv2d(x, *arguments, padding=padding, dilation=dilation).relu()  # pyright: ignore

    compiled = torch.compile(run, fullgraph=True, mode=mode)
    for _ in range(2):  # graphs are recorded after the first
        _gradients(compiled, layer, x)
    return _worst(_gradients(compiled, layer, x), _gradients(run, layer, x))
