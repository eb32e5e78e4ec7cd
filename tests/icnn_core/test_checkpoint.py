"""Checkpoints: what is written comes back; broken, hostile and foreign files."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from icnn_core import IrregularConv2d, build_model, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.errors import CheckpointError, NameNotFoundError
from icnn_core.models.deeplab import deeplab_largefov


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = deeplab_largefov("tiny", 3).eval()
    make_irregular(model, "backbone.layer4", shift=0.3)
    make_irregular(model, names="backbone.layer1.conv", sharing="none", shift=0.3)
    make_irregular(model, names="backbone.layer2.conv", interpolation="gaussian", sigma=0.8, learn_sigma=True)
    make_irregular(model, names="backbone.layer3.conv1", interpolation="gaussian", sigma=0.8)
    return model


DESCRIPTION = {
    "classes": ("sky", "<b>rod</b>", "ring"),
    "palette": ((0, 0, 0), (10, 20, 30), (255, 0, 1)),
    "ignore_index": 7,
    "dataset": {"name": "shapes", "size": [40, 56]},
    "metrics": {"mean_iou": 0.5},
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_written_comes_back(tmp_path, network, suffix):
    path = write_checkpoint(tmp_path / f"net{suffix}", network, **DESCRIPTION)
    checkpoint = read_checkpoint(path)
    assert {key: getattr(checkpoint, key) for key in DESCRIPTION} == DESCRIPTION
    names = [layer.name for layer in checkpoint.irregular]
    assert names[0] == "backbone.layer1.conv"
    assert names[-1] == "classifier.fc1"
    assert checkpoint.irregular[0].sharing == "none"
    assert checkpoint.irregular[-1].dilation == (12, 12)
    x = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(build_model(checkpoint)(x), network(x), rtol=0, atol=0)
    assert sorted(os.listdir(tmp_path)) == [path.name], "no temporary file stays behind"


def test_half_precision_storage_keeps_positions_whole(tmp_path, network):
    path = write_checkpoint(tmp_path / "half.safetensors", network, dtype=torch.float16)
    state = read_checkpoint(path).state
    assert state["classifier.fc1.weight"].dtype == torch.float16
    assert torch.equal(state["classifier.fc1.positions"], network.classifier.fc1.positions)
    assert build_model(read_checkpoint(path)).classifier.fc1.weight.dtype == torch.float32


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_code_in_a_file_is_never_run(tmp_path, monkeypatch, writer):
    crater = tmp_path / "crater"
    monkeypatch.setenv("BOMB", str(crater))
    path = tmp_path / "hostile.pt"
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    else:
        torch.save({"state_dict": {"weight": Bomb()}}, path)
    with pytest.raises(CheckpointError, match=r"(would run|needs the) code .*Nothing of it was run"):
        read_checkpoint(path)
    assert not crater.exists()


def _truncated(path, network):
    write_checkpoint(path, network)
    path.write_bytes(path.read_bytes()[:2000])


def _newer(path, network):
    torch.save({"icnn": json.dumps({"format_version": 99, "package_version": "9.0"}), "state_dict": {}}, path)
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {"a": torch.zeros(1)}
    torch.save(content, path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, network: None, "nothing there"),
        (lambda path, network: path.mkdir(), "a folder"),
        (lambda path, network: path.write_bytes(b""), "an empty file"),
        (lambda path, network: path.write_text("not a checkpoint"), "broken"),
        (_truncated, "broken"),
        (_newer, "version 99 .written by icnn 9.0."),
        (lambda path, network: torch.save([1, 2], path), "list"),
        (lambda path, network: torch.save({"epoch": 3}, path), "none"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_that_cannot_be_used_give_one_line(tmp_path, network, make, message, suffix):
    if suffix == ".safetensors" and message not in ("nothing there", "a folder", "an empty file", "broken"):
        pytest.skip("only torch files hold this")
    path = tmp_path / f"file{suffix}"
    make(path, network)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_foreign_state_dict_is_enough_to_find_its_layers(tmp_path, wrapper, prefix):
    layers = {
        "a": IrregularConv2d(3, 4, (3, 2), dilation=(2, 5), sharing="channel"),
        "b": IrregularConv2d(4, 2, 3, sharing="layer"),
        "c": IrregularConv2d(2, 2, 3, sharing="none"),
        "d": nn.Conv2d(2, 2, 3),
    }
    state = {prefix + name: tensor for name, tensor in nn.ModuleDict(layers).state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "foreign.pt")
    checkpoint = read_checkpoint(tmp_path / "foreign.pt")
    assert [(layer.name, layer.sharing) for layer in checkpoint.irregular] == [
        ("a", "channel"),
        ("b", "layer"),
        ("c", "none"),
    ]
    assert checkpoint.irregular[0].dilation == (2, 5)
    with pytest.raises(CheckpointError, match="weights alone"):
        build_model(checkpoint)
    built = build_model(checkpoint, lambda: nn.ModuleDict({k: _regular(v) for k, v in layers.items()}))
    assert torch.equal(built.a.positions, layers["a"].positions)


def _regular(layer):
    return layer.to_conv2d() if isinstance(layer, IrregularConv2d) else layer


def test_a_single_layer_is_a_network_too(tmp_path):
    save_file(IrregularConv2d(3, 4, 3).state_dict(), tmp_path / "layer.safetensors")
    assert [layer.name for layer in read_checkpoint(tmp_path / "layer.safetensors").irregular] == ["layer"]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_wrapped_bare_and_shared_layers_come_back(tmp_path, suffix):
    layer = IrregularConv2d(2, 2, 3, shift=0.2)
    shared = nn.Sequential(layer, nn.ReLU(), layer)
    wrapped = {
        "parallel": (nn.DataParallel(nn.Sequential(layer)), ["0"]),
        "compiled": (torch.compile(nn.Sequential(layer)), ["0"]),
        "child called module": (nn.ModuleDict({"module": layer}), ["module"]),
        "bare": (layer, ["layer"]),
        "shared": (shared, ["0", "2"]),
    }
    for name, (model, expected) in wrapped.items():
        path = write_checkpoint(tmp_path / f"{name}{suffix}", model)
        assert [found.name for found in read_checkpoint(path).irregular] == expected, name
    regular = layer.to_conv2d()
    path = tmp_path / f"shared{suffix}"
    built = build_model(read_checkpoint(path), lambda: nn.Sequential(regular, nn.ReLU(), regular))
    x = torch.randn(1, 2, 9, 8)
    torch.testing.assert_close(built(x), shared(x))


@pytest.mark.parametrize(
    "change",
    [
        {"irregular": ["abc"]},
        {
            "irregular": [
                {"name": "classifier.fc1", "kernel_size": [3, 3], "dilation": [1, 1], "sharing": "layer"}
            ]
        },
        {"axis_order": "xy"},
        {"palette": 3},
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, network, change):
    path = write_checkpoint(tmp_path / "net.pt", network)
    content = torch.load(path, weights_only=True)
    content["icnn"] = json.dumps(json.loads(content["icnn"]) | change)
    torch.save(content, path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_network_that_does_not_fit_is_refused(tmp_path, network):
    path = write_checkpoint(tmp_path / "net.pt", network)
    checkpoint = read_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"layer backbone\.layer1\.conv"):
        build_model(checkpoint, lambda: nn.Sequential(nn.Conv2d(3, 3, 3)))
    plain = write_checkpoint(tmp_path / "plain.pt", deeplab_largefov("tiny", 3))
    words = (
        r"size mismatch: \S+ of shape \(3, .* for \(4, .*\. Name the network it was written for\. They begin"
    )
    with pytest.raises(CheckpointError, match=words):
        build_model(read_checkpoint(plain), lambda: deeplab_largefov("tiny", 4))
    torch.save(nn.Conv2d(3, 4, 3).state_dict(), tmp_path / "other.pt")
    with pytest.raises(
        CheckpointError, match=r"unexpected weight, bias\. Name the network it was written for\.$"
    ):
        build_model(read_checkpoint(tmp_path / "other.pt"), lambda: deeplab_largefov("tiny", 4))


def test_an_architecture_of_elsewhere_is_not_built(tmp_path, network):
    path = write_checkpoint(tmp_path / "net.pt", network)
    content = torch.load(path, weights_only=True)
    header = json.loads(content["icnn"])
    header["architecture"]["name"] = "os.system"
    content["icnn"] = json.dumps(header)
    torch.save(content, path)
    with pytest.raises(NameNotFoundError, match=r"os\.system"):
        build_model(read_checkpoint(path))


def test_layers_with_positions_that_are_not_finite_are_named(tmp_path, network):
    with torch.no_grad():
        network.classifier.fc1.positions[0, 0, 0] = float("nan")
    path = write_checkpoint(tmp_path / "net.pt", network)
    assert read_checkpoint(path).non_finite_layers == ("classifier.fc1",)
    with pytest.raises(CheckpointError, match=r"finite positions in classifier\.fc1"):
        build_model(read_checkpoint(path))


def test_a_failed_write_leaves_the_old_file(tmp_path, network, monkeypatch):
    path = write_checkpoint(tmp_path / "net.pt", network)
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="full disk"):
        write_checkpoint(path, network)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.pt"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, network):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="can be written"):
        write_checkpoint(tmp_path / "file" / "net.pt", network)
