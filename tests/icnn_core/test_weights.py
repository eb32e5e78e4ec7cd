"""Weights as other programs write them: under any key, behind any prefix, in folders and several files."""

from __future__ import annotations

import argparse
import json
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from icnn_core.checkpoint import build_model, read_checkpoint
from icnn_core.cli import main
from icnn_core.errors import CheckpointError
from icnn_core.models.pretrained import read_state_dict
from icnn_core.nn import IrregularConv2d
from icnn_core.surgery import make_irregular
from icnn_viz.positions import read_snapshots


def _make() -> nn.Sequential:
    return nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 3), head=nn.Conv2d(4, 2, (3, 2), dilation=(1, 2))))


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    network = _make()
    make_irregular(network, names="head", shift=0.3)
    return network.eval()


def _assert_read(path: Path, network: nn.Module) -> None:
    """What is read is the network, and builds it."""
    checkpoint = read_checkpoint(path)
    assert [layer.name for layer in checkpoint.irregular] == ["head"]
    x = torch.randn(1, 3, 9, 8)
    torch.testing.assert_close(build_model(checkpoint, _make)(x), network(x))


WRAPPERS: list[tuple[str, Any]] = [
    ("plain", lambda state: state),
    *((key, lambda state, key=key: {key: state, "epoch": 3, "note": "ours"}) for key in (
        "state_dict", "model", "model_state_dict", "net", "network", "ema", "params_ema", "shadow", "generator",
    )),
    ("model within", lambda state: {"model": {"state_dict": state}, "optimizer": {"state": {}, "param_groups": []}}),
    ("average with numbers", lambda state: {"ema": {"decay": 0.99, "num_updates": 7, "shadow": state}}),
    ("a key nobody knows", lambda state: {"weights_of_mine": state, "epoch": torch.tensor(3)}),
    ("lightning", lambda state: {
        "state_dict": state, "epoch": 1, "global_step": 20, "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": {"args": argparse.Namespace(lr=0.1, sizes=[3, 4]), "best": np.float64(0.5)},
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [{"state": {}}],
    }),
]  # fmt: skip


@pytest.mark.parametrize("wrap", [wrap for _, wrap in WRAPPERS], ids=[name for name, _ in WRAPPERS])
def test_a_state_dict_is_found_wherever_it_lies(tmp_path: Path, network: nn.Module, wrap: Any) -> None:
    torch.save(wrap(network.state_dict()), tmp_path / "net.ckpt")
    _assert_read(tmp_path / "net.ckpt", network)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "model.",
        "net.",
        "ema.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.net.module.",
    ],
)
def test_any_chain_of_wrappers_is_taken_off(tmp_path: Path, network: nn.Module, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "net.pt")
    _assert_read(tmp_path / "net.pt", network)


def test_an_average_of_models_is_a_model(tmp_path: Path, network: nn.Module) -> None:
    average = AveragedModel(nn.DataParallel(network))
    average.update_parameters(average.module)
    torch.save(average.state_dict(), tmp_path / "swa.pt")
    assert "n_averaged" in average.state_dict()
    _assert_read(tmp_path / "swa.pt", network)


def test_names_that_the_network_itself_has_stay(tmp_path: Path, network: nn.Module) -> None:
    """A network whose own child is called model; one in a child that nobody knows."""
    torch.save(nn.ModuleDict({"model": network}).state_dict(), tmp_path / "own.pt")
    built = build_model(read_checkpoint(tmp_path / "own.pt"), lambda: nn.ModuleDict({"model": _make()}))
    assert isinstance(built["model"].head, IrregularConv2d)
    torch.save(nn.ModuleDict({"student": network}).state_dict(), tmp_path / "child.pt")
    _assert_read_as(tmp_path / "child.pt", network)
    with pytest.raises(CheckpointError, match=r"All names in the file begin with student\."):
        build_model(read_checkpoint(tmp_path / "child.pt"), lambda: nn.Sequential(nn.Conv2d(3, 3, 3)))


def _assert_read_as(path: Path, network: nn.Module) -> None:
    x = torch.randn(1, 3, 9, 8)
    torch.testing.assert_close(build_model(read_checkpoint(path), _make)(x), network(x))


def test_of_several_networks_the_first_is_read_and_told(
    tmp_path: Path, network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    other = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    torch.save({"params_ema": other, "params": network.state_dict()}, tmp_path / "net.pth")
    _assert_read(tmp_path / "net.pth", network)
    assert "several networks: params, params_ema. Read is params." in caplog.text


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("shards", [1, 2])
def test_folders_of_transformers_and_accelerate(
    tmp_path: Path, network: nn.Module, suffix: str, shards: int
) -> None:
    state = network.state_dict()
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    parts = [dict(list(state.items())[number::shards]) for number in range(shards)]
    weight_map = {}
    for number, part in enumerate(parts):
        name = f"{stem}{suffix}" if shards == 1 else f"{stem}-{number + 1:05d}-of-{shards:05d}{suffix}"
        save_file(part, tmp_path / name) if suffix == ".safetensors" else torch.save(part, tmp_path / name)
        weight_map |= dict.fromkeys(part, name)
    (tmp_path / "config.json").write_text("{}")
    if shards > 1:
        index = tmp_path / f"{stem}{suffix}.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        _assert_read(index, network)
    _assert_read(tmp_path, network)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "a broken one"),
        ("[" * 100_000, "a broken one"),
        ('{"weight_map": {"a": "../other.safetensors"}}', "a broken one"),
        ('{"weight_map": {"a": 3}}', "a broken one"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "nothing there"),
        ('{"weight_map": {"a": "part.safetensors"}}', r"a in part\.safetensors; got none"),
    ],
)
def test_a_broken_index_is_refused(tmp_path: Path, text: str, words: str) -> None:
    save_file({"b": torch.zeros(2)}, tmp_path / "part.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path)


def test_backbone_weights_are_found_as_networks_are(tmp_path: Path, network: nn.Module) -> None:
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "net.pth")
    assert list(read_state_dict(tmp_path / "net.pth")) == list(network.state_dict())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "loss": [0.5, 0.4]}, r"got none: epoch \(int\), loss \(list of 2\)"),
        ({}, "got none: nothing"),
        ([1, 2], "got list"),
    ],
)
def test_what_holds_no_weights_says_what_it_holds(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "other.pt")


def _write_torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("net/data.pkl", "net/constants.pkl", "net/code/net.py"):
            archive.writestr(name, b"N.")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_write_torchscript, "a TorchScript program"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "an HDF5 file, as Keras writes"),
        (
            lambda path: torch.save(nn.Conv2d(3, 4, 3), path),
            r"needs the code of torch\.nn\.modules\.conv\.Conv2d",
        ),
        (lambda path: path.write_text("weights"), "would run code"),
    ],
)
def test_what_is_no_state_dict_is_called_by_its_name(tmp_path: Path, write: Any, words: str) -> None:
    write(tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "net.pt")


def test_a_checkpoint_of_several_processes_says_how_to_join_it(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(b"")
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    for read in (read_checkpoint, read_snapshots):
        with pytest.raises(CheckpointError, match="dcp_to_torch"):
            read(tmp_path)
    (tmp_path / ".metadata").unlink()
    (tmp_path / "zero_to_fp32.py").write_text("")  # DeepSpeed puts it there
    with pytest.raises(CheckpointError, match=r"DeepSpeed.*zero_to_fp32"):
        read_checkpoint(tmp_path)


def test_a_suffix_in_capitals_is_the_same(tmp_path: Path, network: nn.Module) -> None:
    save_file(network.state_dict(), tmp_path / "NET.SAFETENSORS")
    _assert_read(tmp_path / "NET.SAFETENSORS", network)


def test_a_tensor_stored_once_that_has_two_names(tmp_path: Path) -> None:
    """As transformers stores networks that use a layer twice."""

    def make() -> nn.Sequential:
        layer = nn.Conv2d(3, 3, 3)
        return nn.Sequential(layer, nn.ReLU(), layer)

    network = make()
    make_irregular(network, shift=0.2)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("2.")}
    save_file(state, tmp_path / "net.safetensors")
    x = torch.randn(1, 3, 9, 8)
    torch.testing.assert_close(
        build_model(read_checkpoint(tmp_path / "net.safetensors"), make)(x), network(x)
    )


def test_a_prefix_that_not_all_names_share_is_given(tmp_path: Path, network: nn.Module) -> None:
    torch.manual_seed(3)
    both = nn.ModuleDict({"student": _make(), "teacher": nn.ModuleDict({"core": network})})
    path = tmp_path / "both.pt"
    torch.save({"state_dict": both.state_dict(), "epoch": 3}, path)
    checkpoint = read_checkpoint(path, prefix="teacher.core.")
    assert [layer.name for layer in checkpoint.irregular] == ["head"]
    x = torch.randn(1, 3, 9, 8)
    torch.testing.assert_close(build_model(checkpoint, _make)(x), network(x))
    with pytest.raises(
        CheckpointError, match=r"They begin with student\., teacher\.; --prefix, or read_checkpoint"
    ):
        build_model(read_checkpoint(path), _make)
    with pytest.raises(CheckpointError, match=r"names that begin with student\., teacher\."):
        read_checkpoint(path, prefix="pupil.")
    assert set(read_checkpoint(path, prefix="").state) == set(both.state_dict())


def test_convert_strips_a_prefix_and_leaves_a_regular_network_as_it_is(
    tmp_path: Path, run_main: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ournets.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, (3, 2)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, (3, 2)))
    torch.save(
        {f"teacher.{k}": v for k, v in net.state_dict().items()} | {"student.0.weight": torch.ones(1)}, "a.pt"
    )
    call = ("convert", "a.pt", "--model", "ournets:make")
    assert "--prefix" in run_main(main, *call, "--out", "b.pt", "--irregular", "1").err
    as_it_is = ("--irregular", "none", "--prefix", "teacher.")
    assert run_main(main, *call, "--out", "b.pt", *as_it_is).code == 0
    for name, tensor in read_checkpoint("b.pt").state.items():
        assert torch.equal(tensor, net.state_dict()[name])


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, "0.0059"), (torch.bfloat16, "0.047")])
def test_positions_in_half_precision_are_read_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: torch.dtype, error: str
) -> None:
    layer = IrregularConv2d(2, 3, (3, 2), dilation=(12, 24), shift=0.0)
    torch.save(nn.Sequential(layer).to(dtype).state_dict(), tmp_path / "half.pt")
    assert read_checkpoint(tmp_path / "half.pt").irregular[0].name == "0"
    [record] = caplog.records
    assert f"positions in {str(dtype)[6:]}: rounded, by up to {error} pixels" in record.getMessage()
