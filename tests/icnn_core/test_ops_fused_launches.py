"""How often the CUDA back end launches, what it allocates and how it is cut, on tensors without memory."""

from __future__ import annotations

import weakref
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from icnn_core.ops import fused
from icnn_core.ops.benchmark import LAYERS
from icnn_core.ops.fused.sizes import MOST_WORKSPACE, cut, cut_images
from icnn_core.ops.geometry import Geometry

pytest.importorskip("triton", reason="Triton is not installed")

from icnn_core.ops.fused import launching, passes

QUIET = {"empty", "empty_like", "new_empty", "view", "t", "transpose", "permute", "expand", "slice", "select",
         "unsqueeze", "alias"}  # fmt: skip
"""Operations that launch nothing."""


class Watch(TorchDispatchMode):
    """Counts what launches, and the bytes that are alive, but for what was there before."""

    def __init__(self, *before: torch.Tensor) -> None:
        super().__init__()
        self._before = {tensor.untyped_storage()._cdata for tensor in before}
        self.launched: Counter[str] = Counter()
        self.alive = self.peak = 0
        self._users: Counter[int] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        if name not in QUIET:
            self.launched[name] += 1
        found = function(*arguments, **(options or {}))
        for tensor in found if isinstance(found, list | tuple) else [found]:
            if isinstance(tensor, torch.Tensor):
                self._add(tensor)
        return found

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._before:
            return
        if not self._users[storage._cdata]:
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
        self._users[storage._cdata] += 1
        weakref.finalize(tensor, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self._users[key] -= 1
        self.alive -= 0 if self._users[key] else size


@pytest.fixture
def watch(monkeypatch):
    """Runs a layer's forward and backward pass on an H100 that is not there; launches are counted, not run."""
    monkeypatch.setattr(passes, "workspace_bytes", lambda device: MOST_WORKSPACE)
    current: list[Watch] = []

    def note(launch, *tensors):
        assert launch.programs < 2**31
        current[-1].launched[launch.kernel.__name__] += 1

    monkeypatch.setattr(launching.Launch, "__call__", note)

    def run(name, *, batch=None, last=False, dtype=torch.bfloat16, size=None):
        layer = LAYERS[name]
        batch, size = batch or layer.batch, size or layer.size
        geometry = Geometry(
            batch, layer.in_channels, layer.out_channels, (size, size), (layer.kernel,) * 2, (1, 1),
            (layer.padding,) * 2, (layer.dilation,) * 2, layer.groups,
        )  # fmt: skip
        shape = batch, layer.in_channels, size, size
        form = torch.channels_last if last else torch.contiguous_format
        x = torch.empty(shape, dtype=dtype, device="meta", memory_format=form)
        weight = torch.empty(
            layer.out_channels,
            layer.in_channels // layer.groups,
            layer.kernel,
            layer.kernel,
            dtype=dtype,
            device="meta",
        )
        positions = torch.empty(layer.in_channels, layer.taps, 2, device="meta")
        bias = torch.empty(layer.out_channels, dtype=dtype, device="meta")
        watches = []
        with Watch(x, weight, positions, bias) as seen:
            current.append(seen)
            out = fused.forward(x, weight, positions, None, geometry)
            watches.append(seen)
        with Watch(x, weight, positions, bias, out) as seen:
            current.append(seen)
            fused.backward(out, x, weight, positions, geometry, (True, True, True, bias is not None))
            watches.append(seen)
        return geometry, x, weight, out, *watches

    return run


@pytest.mark.parametrize("name", LAYERS)
def test_a_chunk_takes_few_launches(name, watch):
    *_, forward, backward = watch(name, last=True)
    chunks = max(1, forward.launched["column_kernel"]), max(1, backward.launched["column_kernel"])
    assert chunks == {"res4 ×4": (2, 2), "fc1": (1, 4)}.get(name, (1, 1))
    assert forward.launched.total() <= 3 * chunks[0]
    assert backward.launched.total() <= 8 * chunks[1] + (chunks[1] > 1)


def test_rows_of_pixels_that_are_not_aligned_take_one_more(watch):
    assert watch("res4")[4].launched.total() == 4  # 41·41 pixels: made channels_last, then copied
    assert watch("res4", size=48)[4].launched.total() == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", LAYERS)
def test_memory_above_what_a_convolution_returns_stays_below_40_mb(name, batch, dtype, watch):
    _, x, weight, out, forward, backward = watch(name, batch=batch, dtype=dtype)
    returned = [out.nbytes, x.nbytes + weight.nbytes]
    assert forward.peak - returned[0] > 0
    assert max(forward.peak - returned[0], backward.peak - returned[1]) <= 40 << 20


@pytest.mark.parametrize("budget", [1, 40, 100, 150, 310, 10_000])
def test_chunks_fit_and_cover_the_column_once(budget):
    geometry = Geometry(5, 6, 4, (7, 9), (1, 2), (1, 1), (0, 0), (1, 1), 2)
    seen = torch.zeros(5, 2, 3)  # images, groups, channels of a group
    for chunk in cut(geometry, 30, 10, budget):
        first = chunk.first_image, chunk.first_group, chunk.first_channel
        ends = [
            at + count for at, count in zip(first, (chunk.images, chunk.groups, chunk.channels), strict=True)
        ]
        seen[first[0] : ends[0], first[1] : ends[1], first[2] : ends[2]] += 1
        assert chunk.images * chunk.groups * chunk.channels * 10 <= max(budget, 10)
    assert torch.equal(seen, torch.ones(5, 2, 3))


def test_chunks_of_whole_images_are_even():
    geometry = Geometry(9, 6, 4, (7, 9), (1, 2), (1, 1), (0, 0), (1, 1), 2)
    assert [chunk.images for chunk in cut_images(geometry, 10, 41)] == [3, 3, 3]
    assert [chunk.images for chunk in cut_images(geometry, 10, 3)] == [1] * 9
