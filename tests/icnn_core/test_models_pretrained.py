"""Backbone weights from files: both formats, half precision, and every way to be wrong."""

import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from icnn_core.errors import CheckpointError
from icnn_core.models import pretrained
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.models.pretrained import load_network_weights


@pytest.fixture(scope="module")
def squeezenet():
    torch.manual_seed(2)
    return torchvision.models.squeezenet1_0(weights=None)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_precision_files_with_a_classifier_fill_the_backbone(tmp_path, squeezenet, suffix):
    state = {k: v.half() for k, v in squeezenet.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    net = deeplab_largefov("squeezenet1_0", 3, weights=path)
    for key, value in net.backbone.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[key].float())
    assert "weights" not in net.architecture.arguments


def test_files_older_than_the_batch_counter_are_read(tmp_path):
    plain = torchvision.models.resnet18(weights=None)
    state = {k: v for k, v in plain.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    net = deeplab_largefov("resnet18", 3, weights=tmp_path / "old.pth")
    torch.testing.assert_close(net.backbone.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)


def test_missing_and_unexpected_keys_are_named(tmp_path, squeezenet):
    state = {k: v for k, v in squeezenet.state_dict().items() if not k.startswith("features.12")}
    torch.save(state | {"extra.weight": torch.zeros(1)}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError) as caught:
        deeplab_largefov("squeezenet1_0", 3, weights=tmp_path / "part.pth")
    assert "missing features.12.squeeze.weight" in str(caught.value)
    assert "and 3 more" in str(caught.value)
    assert "unexpected extra.weight" in str(caught.value)


def test_a_deeper_network_s_file_is_refused(tmp_path):
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "deep.pth")
    with pytest.raises(CheckpointError, match=r"got unexpected layer1\.2\.conv1\.weight"):
        deeplab_largefov("resnet18", 3, weights=tmp_path / "deep.pth")


def test_another_shape_is_named(tmp_path, squeezenet):
    state = squeezenet.state_dict() | {"features.0.bias": torch.zeros(97)}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(
        CheckpointError, match=r"size mismatch: features\.0\.bias of shape \(97,\) for \(96,\)"
    ):
        deeplab_largefov("squeezenet1_0", 3, weights=tmp_path / "odd.pth")


class _Malicious:
    def __reduce__(self):
        return (print, ("code from a file ran",))


@pytest.mark.parametrize("kind", ["pickle", "saved", "module", "noise", "empty", "safetensors", "list"])
def test_files_that_are_no_state_dict_are_errors_and_run_nothing(tmp_path, capsys, kind):
    path = tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pth")
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Malicious()))
    elif kind == "saved":
        torch.save({"weight": _Malicious()}, path)
    elif kind == "module":
        torch.save(torch.nn.Linear(2, 2), path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"not weights, whatever the name says")
    with pytest.raises(CheckpointError) as caught:
        deeplab_largefov("squeezenet1_0", 3, weights=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "ran" not in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        deeplab_largefov("resnet18", 3, weights=tmp_path / "nowhere.pth")


def test_imagenet_takes_torchvisions_first_weights_of_that_name(monkeypatch, squeezenet):
    asked = []

    def give(self, *arguments, **options):
        asked.append(str(self))
        return squeezenet.state_dict()

    monkeypatch.setattr(torchvision.models.SqueezeNet1_0_Weights, "get_state_dict", give)
    net = deeplab_largefov("squeezenet1_0", 3, weights="imagenet")
    assert asked == ["SqueezeNet1_0_Weights.IMAGENET1K_V1"]
    torch.testing.assert_close(net.backbone.features[0].weight, squeezenet.features[0].weight)


def test_no_connection_is_an_error_that_says_what_else_to_do(monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", refuse)
    with pytest.raises(CheckpointError, match="path of a file"):
        deeplab_largefov("resnet18", 3, weights="imagenet")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file"),
    [("squeezenet1_0", "squeezenet1_0_imagenet_fp16"), ("vgg16", "vgg16_hed_features_fp16")],
)
def test_real_weights_fill_the_whole_backbone(data_dir, name, file):
    path = data_dir / "weights" / f"{file}.safetensors"
    net = deeplab_largefov(name, 3, weights=path)
    stored = pretrained.read_state_dict(path)
    for key, value in net.backbone.state_dict().items():
        assert torch.equal(value, stored[key].float())


class _Own(nn.Module):
    def __init__(self, classes: int = 3, channels: int = 4) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels))
        self.head = nn.Conv2d(channels, classes, 1)


@pytest.mark.parametrize("wrapped", ["plain", "module", "lightning", "headless"])
def test_a_network_of_ones_own_starts_from_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrapped: str
) -> None:
    given = _Own(classes=5 if wrapped == "headless" else 3)
    state = {
        ("module." if wrapped == "module" else "") + name: value for name, value in given.state_dict().items()
    }
    torch.save({"state_dict": state, "epoch": 3} if wrapped == "lightning" else state, tmp_path / "own.pt")
    model = _Own()
    head = model.head.weight.detach().clone()
    load_network_weights(model, tmp_path / "own.pt")
    assert torch.equal(model.model[0].weight, given.model[0].weight)
    assert torch.equal(model.head.weight, head if wrapped == "headless" else given.head.weight)
    assert ("head.weight, head.bias are for other classes" in caplog.text) == (wrapped == "headless")


def test_another_networks_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weights .*absent\.pt"):
        load_network_weights(_Own(), tmp_path / "absent.pt")
    torch.save(_Own().model.state_dict(), tmp_path / "part.pt")
    with pytest.raises(CheckpointError, match=r"missing model\.0\.weight.*unexpected 0\.weight"):
        load_network_weights(_Own(), tmp_path / "part.pt")
    torch.save(_Own(channels=6).state_dict(), tmp_path / "wider.pt")
    with pytest.raises(CheckpointError, match=r"head\.weight of shape \(3, 6, 1, 1\) for \(3, 4, 1, 1\)"):
        load_network_weights(_Own(), tmp_path / "wider.pt")
    torch.save(nn.Conv2d(3, 5, 1).state_dict(), tmp_path / "throughout.pt")  # nothing of it would stay
    with pytest.raises(
        CheckpointError, match=r"size mismatch: weight of shape .*, bias of shape \(5,\) for \(4,\)"
    ):
        load_network_weights(nn.Conv2d(3, 4, 1), tmp_path / "throughout.pt")


def test_a_whole_network_of_this_package_gives_its_backbone(tmp_path: Path) -> None:
    given = deeplab_largefov("tiny", 7)
    torch.save(given.state_dict(), tmp_path / "whole.pt")
    found = deeplab_largefov("tiny", 3, weights=tmp_path / "whole.pt")
    assert all(
        torch.equal(a, b)
        for a, b in zip(given.backbone.parameters(), found.backbone.parameters(), strict=True)
    )
