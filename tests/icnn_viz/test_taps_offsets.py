"""Offsets in other people's layouts, each against its own way of sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_core.preparation import Preparation
from icnn_viz.taps import LAYOUTS, OffsetSource, watch
from icnn_viz.taps.calls import deformed
from icnn_viz.taps.layers import Layer
from icnn_viz.taps.offsets import arrange

PLAIN = Preparation((0.0,), (1.0,))
KERNEL, SIZE, SETS = (3, 2), (5, 7), 2


def known() -> np.ndarray:
    """(S, K, 2, height, width) of which no two numbers are alike."""
    return np.random.default_rng(0).normal(size=(SETS, 6, 2, *SIZE))


def lay(offsets: np.ndarray, layout: str) -> np.ndarray:
    """As the layout's own projects write them, channels first, by loops."""
    channels = []
    rows = [(y, x) for y in range(KERNEL[0]) for x in range(KERNEL[1])]
    columns = [(y, x) for x in range(KERNEL[1]) for y in range(KERNEL[0])]
    if layout in ("yyxx", "xxyy"):
        for axis in (0, 1) if layout == "yyxx" else (1, 0):
            channels += [offsets[s, k, axis] for s in range(SETS) for k in range(6)]
        return np.array(channels)
    for s in range(SETS):
        for y, x in columns if layout.startswith("dcn") else rows:
            pair = offsets[s, y * KERNEL[1] + x]
            channels += list(pair if layout == "yx" else pair[::-1])
        if layout == "dcnv4":
            channels += [np.full(SIZE, 100.0 * s + 10 * y + x) for y, x in columns]
    channels += [np.zeros(SIZE)] * (-len(channels) % 8 if layout == "dcnv4" else 0)
    return np.array(channels)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "absolute"])
@pytest.mark.parametrize("last", [False, True])
def test_every_layout_is_read_as_it_is_written(layout: str, last: bool) -> None:
    tensor = lay(known(), layout)
    tensor = np.moveaxis(tensor, 0, -1) if last else tensor
    groups = SETS if layout == "dcnv4" else None
    found, mask = arrange(tensor, layout, KERNEL, SIZE, 4, groups=groups)
    assert np.array_equal(found, known())
    if layout == "dcnv4":
        assert mask is not None
        assert [int(v) for v in mask[1, :, 0, 0]] == [100 + 10 * y + x for y in range(3) for x in range(2)]


def test_absolute_places_are_where_they_say() -> None:
    places = np.random.default_rng(0).uniform(0, 9, (6, 2, *SIZE))
    tensor = np.concatenate([places[:, 0], places[:, 1]])
    layer = Layer.regular("a", 0, None, np.ones((1, 4, 6)), KERNEL, (2, 1), (1, 0), (1, 3), 1, SIZE)  # type: ignore[arg-type]
    offsets, mask = arrange(tensor, "absolute", KERNEL, SIZE, 4, layer=layer)
    unit, taps = np.array([[3.0, 4.0]]), np.arange(6)
    at = deformed(layer, offsets, mask).places(np.repeat(unit, 6, 0), np.zeros(6, int), taps)
    assert np.allclose(at, places[:, :, 3, 4])


@pytest.mark.parametrize(
    ("layout", "count", "groups"),
    [("yx", 13, None), ("yx", 36, None), ("yyxx", 6, None), ("absolute", 24, None), ("dcnv4", 36, 3), ("dcnv3", 24, 4)],
)  # fmt: skip
def test_counts_that_do_not_fit_are_refused(layout: str, count: int, groups: int | None) -> None:
    with pytest.raises(ArgumentError, match=rf"{layout}.*got {count}.*--layout"):
        arrange(np.zeros((count, *SIZE)), layout, KERNEL, SIZE, 4, groups=groups)


def test_a_tensor_of_another_size_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"5 × 7.*12 × 6 × 7"):
        arrange(np.zeros((12, 6, 7)), "yx", KERNEL, SIZE, 4)


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(NameNotFoundError, match="yyxx"):
        OffsetSource("a", "yyx")


class Pack(nn.Module):
    """As mmcv's packs: a module with a weight that makes its own offsets, by an operation that nobody can see into."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kernel_size, self.stride, self.padding, self.dilation = (3, 2), (1, 1), (1, 1), (1, 2)
        self.weight = nn.Parameter(torch.randn(3, 1, 3, 2))
        self.conv_offset = nn.Conv2d(1, 12, (3, 2), padding=(1, 1), dilation=(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        self.conv_offset(x)
        return torch.from_numpy(np.repeat(x.numpy(), 3, 1))  # leaves PyTorch


class Sampler(nn.Module):
    """As DCNv3: channels last, no weight, only where to look; `pad` and `group` are its words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kernel_size, self.stride, self.pad, self.dilation, self.group = 3, 1, 1, 1, 2
        self.offset_scale = 2.0
        self.offset = nn.Linear(4, 2 * 9 * 2)

    def forward(self, x: Tensor) -> Tensor:
        self.offset(x)
        return torch.from_numpy(x.numpy().copy())


class Net(nn.Module):
    def __init__(self, inner: nn.Module, last: bool = False) -> None:
        super().__init__()
        self.inner, self.last = inner, last
        self.up = nn.Conv2d(1, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.last:
            return self.inner(self.up(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.inner(x)


def image() -> np.ndarray:
    return np.random.default_rng(1).random((9, 8, 1))


def test_a_module_that_makes_its_offsets_is_read_as_torchvision_reads_them() -> None:
    pack = Pack()
    own = DeformConv2d(1, 3, (3, 2), padding=(1, 1), dilation=(1, 2), bias=False)  # pyright: ignore
    own.weight.data.copy_(pack.weight)

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.conv = pack.conv_offset, own

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x, self.make(x))

    expected = watch(Seen(), image(), preparation=PLAIN).taps((4, 5), class_id=1)
    source = OffsetSource("inner.conv_offset")
    found = watch(Net(pack), image(), preparation=PLAIN, offsets=source).taps((4, 5), class_id=1)
    assert found.layers == ("inner",)
    assert np.allclose(found.at[np.argsort(found.slot)], expected.at[np.argsort(expected.slot)])
    assert np.allclose(found.weight[np.argsort(found.slot)], expected.weight[np.argsort(expected.slot)])


def test_dcnv3_is_read_by_its_own_formula() -> None:
    net = Net(Sampler(), last=True)
    taps = watch(net, image(), preparation=PLAIN, offsets=OffsetSource("inner.offset", "dcnv3")).taps(
        (4, 5), class_id=3
    )
    with torch.no_grad():
        x = net.up(torch.from_numpy(image()).float().permute(2, 0, 1)[None]).permute(0, 2, 3, 1)
        made = net.inner.offset(x)[0, 4, 5].reshape(2, 9, 2).double().numpy()  # type: ignore[operator, union-attr]
    number, expected = 0, {}
    for i in range(3):  # columns outside, rows inside, x before y
        for j in range(3):
            dx, dy = made[1, number]  # class 3 is the second group's
            expected[3 * j + i] = (4 + 2 * (j - 1 + dy), 5 + 2 * (i - 1 + dx))
            number += 1
    inside = {k: p for k, p in expected.items() if -1 < p[0] < 9 and -1 < p[1] < 8}
    assert len(inside) > 5
    assert {int(s) for s in taps.slot} == set(inside)
    for slot, at in zip(taps.slot, taps.at, strict=True):
        assert np.allclose(at, inside[int(slot)], atol=1e-5)


def test_what_carries_no_offsets_is_refused() -> None:
    with pytest.raises(NameNotFoundError, match=r"inner\.conv_offset"):
        watch(Net(Pack()), image(), preparation=PLAIN, offsets=OffsetSource("inner.conv_ofset"))
    with pytest.raises(ArgumentError, match="MODULE:in1"):
        watch(Net(Pack()), image(), preparation=PLAIN, offsets=OffsetSource("inner.conv_offset", item="in7"))
    source = OffsetSource.parse("inner.offset", "dcnv4", "inner")
    with pytest.raises(ArgumentError, match=r"layout dcnv4: needs 56 channels \(2 groups of 27\); got 36"):
        watch(Net(Sampler(), last=True), image(), preparation=PLAIN, offsets=source)
