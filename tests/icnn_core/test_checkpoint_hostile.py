"""Files that declare more than they hold, or what cannot be: refused in one line, before memory is taken for it."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icnn_core import build_model, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.errors import CheckpointError, IcnnError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.nn import IrregularConv2d


def _layer(**changes: Any) -> dict[str, torch.Tensor]:
    return dict(nn.Sequential(IrregularConv2d(3, 4, 3, dilation=2)).state_dict()) | changes


SHAPES = {"0.positions": (3, 9, 2), "0.slots": (9, 2), "0.weight": (4, 3, 3, 3)}
ODD: dict[str, Callable[[tuple[int, ...]], torch.Tensor]] = {
    "bool": lambda shape: torch.zeros(shape, dtype=torch.bool),
    "int64": lambda shape: torch.zeros(shape, dtype=torch.int64),
    "uint16": lambda shape: torch.zeros(shape, dtype=torch.uint16),
    "complex64": lambda shape: torch.zeros(shape, dtype=torch.complex64),
    "float8_e4m3fn": lambda shape: torch.zeros(shape).to(torch.float8_e4m3fn),
    "torch.sparse_coo": lambda shape: torch.zeros(shape).to_sparse(),
    "quantised": lambda shape: torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.qint8),
    "float4_e2m1fn_x2": lambda shape: torch.zeros(shape, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    "on meta": lambda shape: torch.zeros(shape, device="meta"),
}


@pytest.mark.filterwarnings("ignore:.*(quant|Sparse|sparse).*")
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_floating_numbers_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    torch.save(_layer(**{name: ODD[kind](SHAPES[name])}), tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=kind):
        read_checkpoint(tmp_path / "odd.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30])
def test_slots_are_finite(tmp_path: Path, value: float) -> None:
    slots = _layer()["0.slots"]
    slots[4, 1] = value
    torch.save(_layer(**{"0.slots": slots}), tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"finite slots of 0"):
        read_checkpoint(tmp_path / "odd.pt")


def test_a_layer_has_a_channel_a_tap_and_a_shape_for_each(tmp_path: Path) -> None:
    changes = {
        r"positions 0×9×2": {"0.weight": torch.zeros(4, 0, 3, 3), "0.positions": torch.zeros(0, 9, 2)},
        r"positions 3×0×2": {
            "0.weight": torch.zeros(4, 3, 3, 0), "0.positions": torch.zeros(3, 0, 2), "0.slots": torch.zeros(0, 2),
        },
        r"positions \(4, 9, 2\) and a weight \(4, 3, 3, 3\)": {"0.positions": torch.zeros(4, 9, 2)},
        r"positions \(6, 9, 2\) and a weight \(5, 3, 3, 3\)": {
            "0.positions": torch.zeros(6, 9, 2), "0.weight": torch.zeros(5, 3, 3, 3),
        },
        r"positions \(4, 2, 9, 2\)": {"0.positions": torch.zeros(4, 2, 9, 2)},
    }  # fmt: skip
    for words, changed in changes.items():
        torch.save(_layer(**changed), tmp_path / "odd.pt")
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint(tmp_path / "odd.pt")


def test_expanded_tensors_do_not_count_for_what_they_claim(tmp_path: Path) -> None:
    torch.save(_layer(other=torch.zeros(1).expand(10**6, 10**6)), tmp_path / "large.pt")
    assert (tmp_path / "large.pt").stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="1,000,000,000,000 elements in 4 bytes"):
        read_checkpoint(tmp_path / "large.pt")
    content = {
        "icnn": "{}",
        "state_dict": _layer(),
        "training": {"optimizers": [torch.zeros(1).expand(2**21)]},
    }
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="2,097,152 elements in 4 bytes"):
        read_checkpoint(tmp_path / "state.pt")
    torch.save(_layer(other=torch.zeros(1).expand(1000)), tmp_path / "small.pt")
    assert read_checkpoint(tmp_path / "small.pt").state["other"].shape == (1000,)


def test_an_archive_packs_no_more_than_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "packed.pt"
    torch.save(_layer(), path)
    with zipfile.ZipFile(path) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data if not name.endswith("data/0") else bytes(1 << 27))
    assert path.stat().st_size < 1 << 18
    with pytest.raises(CheckpointError, match="bytes packed into"):
        read_checkpoint(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_layers_are_bounded_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip: bool
) -> None:
    one = {"weight": torch.zeros(1, 1, 1, 1), "positions": torch.zeros(1, 1, 2), "slots": torch.zeros(1, 2)}
    state = {f"l{number}.{key}": tensor for number in range(2001) for key, tensor in one.items()}
    torch.save(state, tmp_path / "many.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match="at most 2,000 irregular layers"):
        read_checkpoint(tmp_path / "many.pt")
    monkeypatch.setattr("icnn_core.weights.loading._MOST_STEPS", 10_000)
    with pytest.raises(CheckpointError, match="more than 10,000 values"):
        read_checkpoint(tmp_path / "many.pt")


def test_a_header_of_safetensors_is_bounded(tmp_path: Path) -> None:
    text = b" " * (1 << 24) + b"{}"
    (tmp_path / "long.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="a header of 16,777,218 bytes"):
        read_checkpoint(tmp_path / "long.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = deeplab_largefov("tiny", 3)
    make_irregular(network, "classifier")
    path = tmp_path_factory.mktemp("whole") / "net.pt"
    return write_checkpoint(
        path, network, classes=("a", "b", "c"), dataset={"size": [24, 32]}, metrics={"iteration": 3}
    )


def _changed(whole: Path, change: Callable[[dict[str, Any]], object]) -> io.BytesIO:
    content = torch.load(whole, weights_only=True)
    header = json.loads(content["icnn"])
    change(header)
    file = io.BytesIO()
    torch.save(content | {"icnn": json.dumps(header)}, file)
    return file


def _layer_with(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda header: header["irregular"][0].update(values)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a list where a dictionary belongs": lambda header: header.update(metrics=[]),
    "classes as one word": lambda header: header.update(classes="abc"),
    "a class that is a number": lambda header: header.update(classes=[1, 2, 3]),
    "a colour beyond 255": lambda header: header.update(palette=[[0, 0, 256]] * 3),
    "a colour of fractions": lambda header: header.update(palette=[[0.5, 0, 0]] * 3),
    "65,537 classes": lambda header: header.update(classes=["x"] * 65537),
    "an int beyond all": lambda header: header.update(ignore_index=10**400),
    "infinity": lambda header: header.update(ignore_index=float("inf")),
    "images of 30,000²": lambda header: header["dataset"].update(size=[30000, 30000]),
    "images of no size": lambda header: header["dataset"].update(size=[0, 32]),
    "a size of words": lambda header: header["dataset"].update(size=["24", "32"]),
    "a version of words": lambda header: header.update(format_version="one"),
    "an infinite version": lambda header: header.update(format_version=float("inf")),
    "an architecture that is a list": lambda header: header.update(architecture=[1]),
    "arguments that are a list": lambda header: header["architecture"].update(arguments=[1]),
    "a name that is a list": lambda header: header["architecture"].update(name=["deeplab_largefov"]),
    "something is missing": lambda header: header.pop("palette"),
    "layers that are a word": lambda header: header.update(irregular="abc"),
    "one layer twice": lambda header: header.update(irregular=header["irregular"] * 2),
    "a kernel of fractions": _layer_with(kernel_size=[3.0, 3.0]),
    "a kernel of one number": _layer_with(kernel_size=[3]),
    "dilation 0": _layer_with(dilation=[0, 12]),
    "another sharing": _layer_with(sharing="everything"),
    "a sharing that is a list": _layer_with(sharing=["channel"]),
    "groups of words": _layer_with(groups="2"),
    "groups that contradict the tensors": _layer_with(groups=2),
    "groups that do not divide the channels": _layer_with(sharing="none", groups=7),
    "negative padding": _layer_with(padding=[-1, 0]),
    "another interpolation": _layer_with(interpolation="cubic"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_description_of_other_types_or_sizes_is_refused(
    tmp_path: Path, whole: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    (tmp_path / "net.pt").write_bytes(_changed(whole, change).getvalue())
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "net.pt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


# Three groups divide the six kernels, but where a channel has a shape of its own there are shapes for two.
@pytest.mark.parametrize(("sharing", "groups"), [("layer", 4), ("channel", 4), ("none", 4), ("channel", 3)])
def test_groups_must_fit_the_tensors_whatever_is_shared(tmp_path: Path, sharing: Any, groups: int) -> None:
    network = nn.Sequential(IrregularConv2d(4, 6, 3, groups=2, sharing=sharing))
    path = write_checkpoint(tmp_path / "whole.pt", network)
    assert read_checkpoint(path).irregular[0].groups == 2
    (tmp_path / "net.pt").write_bytes(_changed(path, _layer_with(groups=groups)).getvalue())
    with pytest.raises(CheckpointError, match="that fit"):
        read_checkpoint(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "resnet101", "num_classes": 65536}, "of shape"),
        ({"backbone": "tiny", "num_classes": 4}, "size mismatch"),
        ({"backbone": "tiny", "num_classes": 10**9}, "num_classes"),
        ({"backbone": "tiny", "num_classes": "three"}, "deeplab_largefov"),
        ({"backbone": "tiny", "num_classes": 3, "classifier_dilation": [1]}, "deeplab_largefov"),
        ({"backbone": "tiny", "num_classes": 3, "dropout": "much"}, "deeplab_largefov"),
        ({"backbone": ["tiny"], "num_classes": 3}, "deeplab_largefov"),
    ],
)
def test_a_network_is_not_made_for_weights_that_are_not_there(
    tmp_path: Path, whole: Path, arguments: dict[str, Any], words: str
) -> None:
    change = lambda header: header["architecture"].update(arguments=arguments)  # noqa: E731
    (tmp_path / "net.pt").write_bytes(_changed(whole, change).getvalue())
    with pytest.raises(IcnnError, match=words):
        build_model(read_checkpoint(tmp_path / "net.pt"))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 5000, "null", "3", '{"format_version": 1e999}', "\x00", "[]"]
)
def test_a_description_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    torch.save({"icnn": text, "state_dict": _layer(), "training": {}}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="description in JSON"):
        read_checkpoint(tmp_path / "net.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    with pytest.raises(CheckpointError, match="a pipe"):
        read_checkpoint(tmp_path / f"pipe{suffix}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe.pt", tmp_path / "folder.pt"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder):
        with pytest.raises(CheckpointError, match="a folder, pipe or device"):
            write_checkpoint(path, nn.Sequential(IrregularConv2d(3, 4, 3)))
    assert pipe.is_fifo()
    assert sorted(tmp_path.iterdir()) == [folder, pipe]


def test_paths_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / ("x" * 300), "too long"), (tmp_path / "a\0b.pt", "null")):
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint(path)
