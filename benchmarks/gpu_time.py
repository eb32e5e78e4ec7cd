"""How fast the CUDA back end is on a GPU: layers beside their peers, memory, first call, a training step."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from gpu_correctness import DTYPES, set_precision

from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.ops import explain, irregular_conv2d
from icnn_core.ops.benchmark import LAYERS, Layer, Method, make_methods, run_once
from icnn_core.surgery import make_irregular

NAMES = ("res4", "res5", "fc1", "shallow", "depthwise")
BATCH, CROP = 16, 321
ROUNDS = {"bfloat16": 11, "tf32": 9, "float32": 5}
_BASES = ("conv2d", "conv2d channels_last")
_SLOW = ("deform_conv2d", "gathered")
_CYCLES_A_MS = 2_000_000


def machine(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names and versions, and which back end is chosen."""
    yield "versions", lambda: _versions(device)
    yield (
        "explain",
        lambda: str(
            explain(*(torch.zeros(s, device=device) for s in ((1, 9, 8, 7), (70, 9, 3, 3), (9, 9, 2))))
        ),
    )


def _versions(device: torch.device) -> dict[str, Any]:
    import torchvision
    import triton

    found = {"torch": torch.__version__, "triton": triton.__version__, "torchvision": torchvision.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"device": properties.name, "capability": f"{properties.major}.{properties.minor}"}
        found |= {"cache": properties.L2_cache_size, "cudnn": torch.backends.cudnn.version()}
    return found


def first_call(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Seconds of the first forward and backward pass in a process, with an empty cache and with a full one."""
    folder = tempfile.mkdtemp(prefix="triton-")
    for name in ("compiling", "cached"):
        yield name, lambda: _first_call(folder, device)


def _first_call(folder: str, device: torch.device) -> float:
    environment = os.environ | {"TRITON_CACHE_DIR": folder}
    command = [sys.executable, __file__, device.type]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=150)
    return float(done.stdout.split()[-1])


def _call_once(kind: str) -> float:
    """What the process of its own does: seconds of a layer's first passes, the trial before them included."""
    layer = LAYERS["res4"] if kind == "cuda" else Layer(1, 1, 2, 4, 1)
    only = ["automatic" if kind == "cuda" else "fused"]
    dtype = torch.bfloat16 if kind == "cuda" else torch.float32
    (method,) = make_methods(layer, 0.5, device=kind, dtype=dtype, only=only)
    start = time.perf_counter()
    run_once(method, backward=True)
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


class Clock:
    """Times passes by CUDA events, with the L2 cache flushed and the host ahead; by the clock on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._flush = torch.empty(256 << 20 if device.type == "cuda" else 1, dtype=torch.uint8, device=device)

    def time(self, run: Callable[[], object], ahead: float = 2.0) -> tuple[float, float]:
        """Milliseconds of the device, and of the host to enqueue. The device waits `ahead` ms first."""
        if self._device.type != "cuda":
            start = time.perf_counter()
            run()
            took = 1e3 * (time.perf_counter() - start)
            return took, took
        torch.cuda.synchronize()
        self._flush.zero_()
        torch.cuda._sleep(int(ahead * _CYCLES_A_MS))
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        began = time.perf_counter()
        run()
        host = 1e3 * (time.perf_counter() - began)
        end.record()
        end.synchronize()
        return start.elapsed_time(end), host


def layers(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each layer in each dtype, all methods interleaved; near positions."""
    clock = Clock(device)
    for kind, rounds in ROUNDS.items():
        for name in NAMES:
            layer = replace(LAYERS[name], batch=BATCH)
            if not dry:
                yield f"{name}, {kind}", lambda k=kind, n=layer, r=rounds: _time_layer(n, k, r, device, clock)
            elif kind == "float32" and name in ("res4", "depthwise"):
                groups = 2 if name == "depthwise" else 1
                small = Layer(1, groups, groups if groups > 1 else 2, 3, 1, groups)
                yield f"{name}, {kind}", lambda n=small, k=kind: _time_layer(n, k, 1, device, clock)


def _time_layer(layer: Layer, kind: str, rounds: int, device: torch.device, clock: Clock) -> dict[str, Any]:
    dtype, precision, _ = DTYPES[kind]
    set_precision(precision)
    torch.backends.cudnn.benchmark = True
    methods = _methods(layer, device, dtype)
    found: dict[str, Any] = {}
    for backward in (False, True):
        times: dict[str, list[tuple[float, float]]] = {method.name: [] for method in methods}
        ahead = {}
        for method in methods:
            for _ in range(2):  # what is compiled or chosen at first
                run_once(method, backward)
            ahead[method.name] = 2.0 + 1.5 * clock.time(partial(run_once, method, backward))[1]
        for each in range(rounds):
            for method in methods:
                if each < 2 or method.name not in _SLOW:
                    taken = clock.time(partial(run_once, method, backward), ahead[method.name])
                    times[method.name].append(taken)
        medians = {name: statistics.median(t for t, _ in taken) for name, taken in times.items()}
        ours = min(took for name, took in medians.items() if name.startswith(("automatic", "fused")))
        each_pass: dict[str, Any] = {"ms": medians, "host ms": _hosts(times)}
        each_pass["ratio"] = ours / min(medians[name] for name in _BASES if name in medians)
        if "deform_conv2d" in medians:
            each_pass["deform_conv2d over ours"] = medians["deform_conv2d"] * layer.batch / ours
        found["both" if backward else "forward"] = each_pass
    return found


def _hosts(times: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    return {name: statistics.median(host for _, host in taken) for name, taken in times.items()}


def _methods(layer: Layer, device: torch.device, dtype: torch.dtype) -> list[Method]:
    """conv2d in both formats, ours, and deform_conv2d on one image: it knows no bfloat16, so float16 stands in."""
    name = "automatic" if device.type == "cuda" else "fused"
    methods = make_methods(layer, 0.5, device=device, dtype=dtype, only=[*_BASES, name])
    x, *others = methods[-1].leaves
    last = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    sizes: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    backend = None if name == "automatic" else name

    def run() -> torch.Tensor:
        return irregular_conv2d(last, *others, **sizes, backend=backend)

    methods.append(Method(f"{name} channels_last", run, (last, *others)))
    other = torch.float16 if dtype == torch.bfloat16 else dtype
    single = replace(layer, batch=1)
    return methods + make_methods(single, 0.5, device=device, dtype=other, peers=True, only=["deform_conv2d"])


def memory(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Peak bytes above what was there before, by method and pass."""
    for name in () if dry else NAMES:
        yield name, lambda n=name: _peaks(replace(LAYERS[n], batch=BATCH), device)


def _peaks(layer: Layer, device: torch.device) -> dict[str, float]:
    found = {}
    for method in make_methods(layer, 0.5, device=device, dtype=torch.bfloat16, only=[*_BASES, "automatic"]):
        for backward in (False, True):
            run_once(method, backward)
            torch.cuda.synchronize()
            gc.collect()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            run_once(method, backward)
            torch.cuda.synchronize()
            peak = (torch.cuda.max_memory_allocated() - before) / 2**20
            found[f"{method.name}, {'both' if backward else 'forward'}, MiB"] = round(peak, 1)
    return found


def training(device: torch.device, dry: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A training step of DeepLab-LargeFOV on ResNet-101, regular and irregular."""
    for form in ("channels_last", "contiguous"):
        for irregular in (False, True):
            name = f"{'irregular' if irregular else 'regular'}, {form}"
            yield name, lambda i=irregular, f=form: _step(i, f, device, dry)


def _step(irregular: bool, form: str, device: torch.device, dry: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    backbone, batch, crop = ("tiny", 2, 33) if dry else ("resnet101", BATCH, CROP)
    model = deeplab_largefov(backbone, 21)
    names = (
        ["classifier.fc1"]
        if dry
        else ["backbone.layer3.*.conv2", "backbone.layer4.*.conv2", "classifier.fc1"]
    )
    made = len(make_irregular(model, names=names).replaced) if irregular else 0
    memory_format = torch.channels_last if form == "channels_last" else torch.contiguous_format
    model: Any = model.to(device).to(memory_format=memory_format).train()
    x = torch.randn(batch, 3, crop, crop, device=device).contiguous(memory_format=memory_format)
    labels = torch.randint(0, 21, (batch, crop, crop), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=not dry):
            loss = F.cross_entropy(model(x).float(), labels)
        loss.backward()
        optimizer.step()

    def timed() -> float:
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    first, *times = (timed() for _ in range(2 if dry else 9))
    return {"ms": statistics.median(times[len(times) // 4 :]), "first ms": first, "irregular layers": made}


if __name__ == "__main__":
    print(_call_once(sys.argv[1]))
