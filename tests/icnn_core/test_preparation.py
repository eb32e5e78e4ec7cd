"""How networks want images: said by the user, by their library, or ImageNet's; sizes that do not fit are made to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional
from torch import nn

from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
from icnn_core.datasets.images import read_with
from icnn_core.datasets.transforms import EvalTransform, TrainTransform
from icnn_core.errors import ArgumentError, DataError, ShapeError
from icnn_core.evaluation.calling import segment
from icnn_core.preparation import IMAGENET_MEAN, Preparation, of_processor, preparation_of
from icnn_viz.gradients import pixel_gradient


def test_values_become_what_the_network_wants() -> None:
    image = torch.tensor([255, 51, 0], dtype=torch.uint8)[:, None, None].expand(3, 2, 3)
    seen = Preparation((0.5, 0.25, 0.0), (0.5, 0.5, 2.0)).normalise(image)
    assert torch.allclose(seen[:, 1, 2], torch.tensor([1.0, -0.1, 0.0]))
    caffe = Preparation((104, 117, 123), (1, 1, 1), white=255, order="bgr").normalise(image)
    assert torch.allclose(caffe[:, 0, 0], torch.tensor([0.0 - 104, 51 - 117, 255 - 123]))
    assert torch.equal(
        Preparation((1.0,), (4.0,)).normalise(torch.full((1, 2, 3), 21.0)), torch.full((1, 2, 3), 5.0)
    )


def test_colour_becomes_grey_and_grey_is_repeated_and_nothing_else_is_made_up() -> None:
    colour = torch.tensor([100, 200, 50], dtype=torch.uint8)[:, None, None].expand(3, 2, 3)
    grey = Preparation((0.0,), (1.0,)).normalise(colour)
    assert torch.allclose(grey, torch.full((1, 2, 3), (0.299 * 100 + 0.587 * 200 + 0.114 * 50) / 255))
    assert Preparation((0.0,) * 3, (1.0,) * 3).normalise(grey).shape == (3, 2, 3)
    with pytest.raises(ShapeError, match=r"images of 12 channels.*got 3 channels"):
        Preparation((0.0,) * 12, (1.0,) * 12).normalise(colour)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (0.5,)},
        {"std": (1.0, 0.0, 1.0)},
        {"white": 0},
        {"order": "brg"},
        {"divisor": 0},
        {"fit": "crop"},
        {"size": (30, 0)},
        {"size": 0},
        {"size": 30, "longest": 0},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match="Preparation"):
        Preparation(**wrong)  # type: ignore[arg-type]


class _Halving(nn.Module):
    """An encoder–decoder that only takes multiples of 4, as many do: its skip has another size otherwise."""

    def __init__(self, channels: int = 3, name: str | None = None) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, 4, 3, stride=4, padding=1)
        self.skip = nn.Conv2d(channels, 4, 1)
        self.name = name

    def forward(self, x: torch.Tensor) -> object:
        logits = nn.functional.interpolate(self.down(x), scale_factor=4.0) + self.skip(x)
        return logits if self.name is None else {"auxiliary": 1, self.name: logits}


def test_a_network_that_wants_multiples_gets_them_padded_or_resized_and_it_is_said() -> None:
    model, image = _Halving(), torch.randn(1, 3, 18, 23)
    with pytest.raises(ShapeError, match=r"takes images of 3 channels of 18 × 23.*--divisor"):
        segment(model, image)
    logits, note = segment(model, image, Preparation(divisor=4))
    assert logits.shape == (1, 4, 18, 23)
    assert note == ("images of 18 × 23 padded to 20 × 24, multiples of 4",)
    whole = torch.nn.functional.pad(image, (0, 1, 0, 2))
    assert torch.equal(logits, model(whole)[..., :18, :23])
    logits, note = segment(model, image, Preparation(divisor=4, fit="resize"))
    assert logits.shape == (1, 4, 18, 23)
    assert note == ("images of 18 × 23 resized to 16 × 24, multiples of 4",)


def test_logits_under_a_name_of_the_users() -> None:
    image = torch.randn(1, 3, 20, 24)
    with pytest.raises(ShapeError, match="auxiliary, mask_logits"):
        segment(_Halving(name="mask_logits"), image)
    assert segment(_Halving(name="mask_logits"), image, Preparation(output="mask_logits"))[0].shape[1] == 4


def test_another_number_of_channels_is_one_line_and_other_faults_keep_their_traceback() -> None:
    with pytest.raises(ShapeError, match=r"3 channels of 20 × 24.*--mean and --std"):
        segment(_Halving(channels=5), torch.randn(1, 3, 20, 24), Preparation())

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no such thing")

    with pytest.raises(ValueError, match=r"^no such thing$"):
        segment(Broken(), torch.randn(1, 3, 20, 24))


def test_what_libraries_say_is_taken() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert preparation_of(model).mean == IMAGENET_MEAN
    model[0].pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": [0.2, 0.2, 0.1], "input_size": (3, 224, 192)}
    found = preparation_of(model)
    assert (found.mean, found.std, found.size) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1), None)
    model[0].pretrained_cfg["fixed_input_size"] = True
    assert preparation_of(model).size == (224, 192)
    grey = nn.Sequential(nn.Conv2d(1, 4, 3))
    assert preparation_of(grey).mean == pytest.approx((sum(IMAGENET_MEAN) / 3,))
    assert preparation_of(nn.Conv2d(12, 4, 3)).mean == (0.0,) * 12
    decoder_first = nn.Sequential(nn.Conv2d(64, 4, 3), nn.Conv2d(3, 64, 3))
    assert preparation_of(decoder_first).mean == preparation_of(nn.Identity()).mean == IMAGENET_MEAN
    model.icnn_preparation = Preparation(divisor=8)  # type: ignore[assignment]
    assert preparation_of(model).divisor == 8


def test_what_transformers_files_say_is_taken(tmp_path: Path) -> None:
    said = {
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.2, 0.1],
        "do_resize": True,
    }
    said |= {
        "size": {"height": 30, "width": 40},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "size_divisor": 32,
    }
    found = of_processor(said)
    assert (found.mean, found.size, found.white, found.divisor) == ((0.5, 0.4, 0.3), (30, 40), 1.0, 32)
    caffe = of_processor({"do_flip_channel_order": True, "do_rescale": False, "size": {"shortest_edge": 3}})
    assert (caffe.order, caffe.white, caffe.mean, caffe.size) == ("bgr", 255.0, (0.0,) * 3, None)
    longest = said | {"size": {"shortest_edge": 32, "longest_edge": 48}}
    assert (of_processor(longest).size, of_processor(longest).longest) == (32, 48)
    assert of_processor(said | {"size": 32}).size == (32, 32)  # as older files say both sides
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said), encoding="utf-8")
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    torch.save(model.state_dict(), tmp_path / "net.pt")
    built = build_model(read_checkpoint(tmp_path / "net.pt"), lambda: nn.Sequential(nn.Conv2d(3, 4, 3)))
    assert preparation_of(built).size == (30, 40)


@pytest.mark.parametrize(
    ("shape", "bounded"),  # by transformers' get_size_with_aspect_ratio
    [((181, 240), (90, 120)), ((240, 181), (120, 90)), ((7, 500), (2, 120)), ((97, 98), (97, 98))],
)
def test_a_shorter_side_is_brought_to_its_length(shape: tuple[int, int], bounded: tuple[int, int]) -> None:
    resized = torchvision.transforms.v2.functional.resize(torch.zeros(1, *shape), [97])
    assert Preparation(size=97).made_for(*shape) == tuple(resized.shape[1:])
    assert Preparation(size=97, longest=120).made_for(*shape) == bounded


def test_what_a_network_was_made_for_is_what_it_sees_in_training_evaluation_and_heatmaps() -> None:
    sizes: list[tuple[int, ...]] = []

    class Seeing(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(tuple(x.shape[-2:]))
            return super().forward(x)

    wanted = Preparation(size=12, longest=40)
    image, mask = torch.zeros(3, 20, 30, dtype=torch.uint8), torch.zeros(20, 30, dtype=torch.int64)
    seen, labels = TrainTransform(scale=(1, 1), preparation=wanted)(image, mask, 0)
    assert seen.shape[1:] == labels.shape == (12, 18)
    assert TrainTransform(scale=(1, 1), crop=(16, 22), preparation=wanted)(image, mask, 0)[1].shape == (
        16,
        22,
    )
    assert EvalTransform(preparation=wanted)(image, mask)[0].shape[1:] == (12, 18)
    assert EvalTransform((10, 11), preparation=wanted)(image, mask)[0].shape[1:] == (10, 11)
    model = Seeing(3, 2, 3, padding=1)
    model.icnn_preparation = wanted  # type: ignore[assignment]
    assert pixel_gradient(model, image.permute(1, 2, 0).numpy(), (4, 7)).gradient.shape == (3, 20, 30)
    assert sizes == [(12, 18)]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("size", [{"size": (30, 40)}, {"size": 30, "longest": 50}])
def test_a_checkpoint_holds_it(tmp_path: Path, suffix: str, size: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3))
    wanted = Preparation((0.3,), (0.2,), white=255, divisor=16, fit="resize", output="y", **size)
    model.icnn_preparation = wanted  # type: ignore[assignment]
    path = write_checkpoint(tmp_path / f"net{suffix}", model)
    built = build_model(read_checkpoint(path), lambda: nn.Sequential(nn.Conv2d(1, 4, 3)))
    assert preparation_of(built) == wanted


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 4), (4, 7, 9)])
def test_a_reader_of_ones_own_gives_channels_first(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    found = read_with(np.load, tmp_path / "a.npy")
    assert found.shape == (1 if len(shape) == 2 else 4, 7, 9)
    assert found.dtype == torch.float32
    expected = array[..., None] if len(shape) == 2 else array
    assert np.array_equal(found.numpy(), expected if shape[0] == 4 else expected.transpose(2, 0, 1))


def test_a_reader_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="by --reader: ValueError"):
        read_with(np.load, tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.full((2, 3), np.nan))
    with pytest.raises(DataError, match="finite real numbers"):
        read_with(np.load, tmp_path / "b.npy")
