"""What inference mode keeps from call to call is never older than the parameters."""

from __future__ import annotations

import copy
import gc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from icnn_core import IrregularConv2d
from icnn_core.ops import dense, irregular_conv2d, kept, sampled

WAYS = ["in place", "through data", "other storage", "another parameter", "loaded"]
KINDS = {  # sharing, interpolation, back end
    "sampled": ("channel", "bilinear", "sampled"),
    "dense": ("none", "bilinear", "dense"),
    "gaussian": ("layer", "gaussian", "dense"),
    "sparse": ("none", "bilinear", "sparse"),
}


def make_layer(kind: str) -> IrregularConv2d:
    sharing, interpolation, backend = KINDS[kind]
    if backend in ("sampled", "sparse"):
        pytest.importorskip("numba", reason="Numba is not installed")
    torch.manual_seed(0)
    kind_of: dict[str, Any] = {"sharing": sharing, "interpolation": interpolation}
    layer = IrregularConv2d(2, 3, (3, 2), padding=2, shift=0.2, **kind_of)
    layer.backend = backend
    return layer.eval()


def change(layer: IrregularConv2d, name: str, way: str) -> None:
    parameter = getattr(layer, name)
    by = 0.7 * torch.rand(parameter.shape)
    if way == "in place":
        parameter.add_(by)
    elif way == "through data":
        parameter.data.add_(by)  # which counts no version
    elif way == "other storage":
        parameter.data = parameter.data + by
    elif way == "another parameter":
        with torch.inference_mode(False):
            setattr(layer, name, torch.nn.Parameter(parameter.detach() + by.clone()))
    else:
        layer.load_state_dict(layer.state_dict() | {name: parameter + by})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["positions", "weight"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_parameter_is_seen(kind: str, name: str, way: str) -> None:
    layer, x = make_layer(kind), torch.randn(2, 2, 11, 9)
    with torch.inference_mode():
        before = layer(x)
        torch.testing.assert_close(layer(x), before, rtol=0, atol=0)
        change(layer, name, way)
        after = layer(x)
        assert not torch.allclose(after, before)
        layer.backend = "reference"
        torch.testing.assert_close(after, layer(x))


@pytest.mark.parametrize(
    ("kind", "module", "made"), [("dense", dense, "dense_kernel"), ("sampled", sampled, "_split")]
)
def test_a_second_call_pays_for_pixels_only(
    kind: str, module, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, make = [], getattr(module, made)
    monkeypatch.setattr(module, made, lambda *arguments: calls.append(1) or make(*arguments))
    layer = make_layer(kind)
    with torch.inference_mode():
        outputs = [layer(torch.ones(1, 2, 11, 9)) for _ in range(3)]
    assert len(calls) == 1
    assert all(torch.equal(out, outputs[0]) for out in outputs)
    outputs = [layer(torch.ones(1, 2, 11, 9)) for _ in range(2)]
    assert len(calls) == 3, "where gradients may be wanted nothing is kept"
    assert all(out.requires_grad for out in outputs)


def test_images_of_another_size_are_another_call() -> None:
    layer = make_layer("dense")
    with torch.no_grad():
        layer.positions.mul_(9)  # beyond a small image, whose size then bounds the kernel
    with torch.inference_mode():
        for size in ((11, 9), (4, 3), (11, 9)):
            x = torch.randn(1, 2, *size)
            layer.backend = "dense"
            found = layer(x)
            layer.backend = "reference"
            torch.testing.assert_close(found, layer(x))


def test_nothing_outlives_its_parameters_or_is_copied_with_them() -> None:
    gc.collect()
    count = len(kept._KEPT)
    layer = make_layer("dense")
    with torch.inference_mode():
        layer(torch.ones(1, 2, 11, 9))
    assert len(kept._KEPT) == count + 1
    twin = copy.deepcopy(layer)
    assert not vars(twin.positions)
    assert len(kept._KEPT) == count + 1
    del layer
    gc.collect()
    assert len(kept._KEPT) == count


def test_positions_that_are_not_a_number_are_made_anew() -> None:
    layer, x = make_layer("sampled"), torch.ones(1, 2, 11, 9)
    with torch.inference_mode():
        layer.positions[0, 1] = torch.nan
        first: Tensor = layer(x)
        assert first.isnan().all()
        torch.testing.assert_close(layer(x), first, equal_nan=True)


def test_layers_that_share_positions_keep_what_each_needs() -> None:
    first, second = make_layer("dense"), make_layer("dense")
    second.positions, second.dilation = first.positions, (2, 3)
    x = torch.randn(2, 2, 11, 9)
    with torch.inference_mode():
        for layer in (first, second, first, second):
            layer.backend = "dense"
            found = layer(x)
            layer.backend = "reference"
            torch.testing.assert_close(found, layer(x))


@pytest.mark.parametrize("backend", ["dense", "sampled", None])
def test_memory_that_others_write_to_is_looked_at(backend: str | None) -> None:
    memory = np.zeros((2, 6, 2), np.float32)
    x, weight, positions = torch.randn(1, 2, 11, 9), torch.randn(3, 2, 3, 2), torch.from_numpy(memory)
    with torch.inference_mode():
        for _ in range(2):
            found = irregular_conv2d(x, weight, positions, backend=backend)
            torch.testing.assert_close(found, irregular_conv2d(x, weight, positions, backend="reference"))
            memory += 3.4
