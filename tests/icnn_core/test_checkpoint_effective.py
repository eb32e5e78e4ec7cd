"""Weights that are computed from others: stored as the network computes them, and gone on with as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from icnn_core import build_model, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.checkpoint import write_snapshot
from icnn_core.errors import CheckpointError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.nn import IrregularConv2d
from icnn_viz.positions import read_clouds

Change = Callable[[nn.Module], object]
CHANGES: list[Change] = [
    lambda layer: prune.random_unstructured(layer, "weight", 0.5),
    lambda layer: prune.l1_unstructured(layer, "positions", 0.3),
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    weight_norm,
    spectral_norm,
]
NAMES = [
    "pruned",
    "positions pruned",
    "weight norm",
    "spectral norm",
    "older weight norm",
    "older spectral norm",
]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_a_computed_weight_is_read_as_the_network_computes_it(
    tmp_path: Path, change: Change, suffix: str
) -> None:
    torch.manual_seed(0)
    network = deeplab_largefov("tiny", 3).eval()
    make_irregular(network, "classifier", shift=0.3)
    change(network.classifier.fc1)
    regular = network.backbone.layer1.conv
    if change is not CHANGES[1]:
        change(regular)
    x = torch.randn(1, 3, 24, 32)
    wanted = network(x).detach()
    path = write_checkpoint(tmp_path / f"net{suffix}", network)
    checkpoint = read_checkpoint(path)
    torch.testing.assert_close(
        checkpoint.tensor("classifier.fc1.weight"), network.classifier.fc1.weight.detach()
    )
    with torch.no_grad():
        torch.testing.assert_close(build_model(checkpoint)(x), wanted)  # a network that computes nothing
    network.load_state_dict(checkpoint.state)  # one that does, as training goes on


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_a_computed_weight_is_found_in_a_state_dict_alone(
    tmp_path: Path, change: Change, suffix: str
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.Conv2d(4, 1, (2, 3)))
    make_irregular(network, shift=0.3)
    for layer in network:
        change(layer)
    x = torch.randn(1, 3, 9, 11)
    network(x)  # spectral norm takes a step
    wanted = network.eval()(x).detach()
    state = {f"module.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    path = tmp_path / f"net{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    for arrays in (False, True):
        checkpoint = read_checkpoint(path, arrays=arrays)
        assert [layer.name for layer in checkpoint.irregular] == ["0", "1"]
        for name, layer in network.named_children():
            for part in ("weight", "positions"):
                found = checkpoint.tensor(f"{name}.{part}")
                assert found is not None
                torch.testing.assert_close(torch.as_tensor(found), getattr(layer, part).detach())
    plain = build_model(
        read_checkpoint(path), lambda: nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.Conv2d(4, 1, (2, 3)))
    )
    torch.testing.assert_close(plain(x).detach(), wanted)


def test_a_layer_that_a_state_dict_does_not_hold_whole_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = nn.Sequential(IrregularConv2d(3, 4, 3), IrregularConv2d(4, 4, (2, 3)), IrregularConv2d(4, 4, 3))
    parametrizations.orthogonal(network[2])
    state = network.state_dict()
    del state["1.slots"]
    torch.save(state, tmp_path / "net.pt")
    assert [layer.name for layer in read_checkpoint(tmp_path / "net.pt").irregular] == ["0"]
    assert "left out: 1, whose buffer `slots` is not there" in caplog.text
    assert "left out: 2, whose weight is computed" in caplog.text
    del state["0.slots"]
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"needs whole irregular layers; got .*slots.*state_dict\(\)"):
        read_clouds(tmp_path / "net.pt")


def test_pruning_is_applied_to_weights_that_a_step_has_moved(tmp_path: Path) -> None:
    layer = IrregularConv2d(3, 4, 3)
    network = nn.Sequential(layer)
    prune.random_unstructured(layer, "weight", 0.5)
    with torch.no_grad():
        layer.weight_orig.add_(1.0)
    wanted = (layer.weight_orig * layer.weight_mask).detach()
    found = read_checkpoint(write_checkpoint(tmp_path / "net.pt", network)).tensor("0.weight")
    torch.testing.assert_close(found, wanted)
    snapshot = write_snapshot(tmp_path, network, 3)
    assert snapshot is not None
    torch.testing.assert_close(read_checkpoint(snapshot).state["0.weight"][0], wanted.norm(dim=0))


def test_a_checkpoint_written_twice_is_the_same_bytes(tmp_path: Path) -> None:
    network = nn.Sequential(IrregularConv2d(3, 4, 3))
    for suffix in (".pt", ".safetensors"):
        first, second = (
            write_checkpoint(tmp_path / f"{name}{suffix}", network).read_bytes()
            for name in ("first", "other")
        )
        assert first == second


def test_a_learnt_width_is_stored_whole(tmp_path: Path) -> None:
    layer = IrregularConv2d(3, 4, 3, interpolation="gaussian", learn_sigma=True, sigma=0.3)
    assert isinstance(layer.sigma, nn.Parameter)
    with torch.no_grad():
        layer.sigma.add_(1e-5 * torch.arange(layer.sigma.numel()).reshape(layer.sigma.shape))
    path = write_checkpoint(tmp_path / "half.pt", nn.Sequential(layer), dtype=torch.float16)
    state = read_checkpoint(path).state
    assert torch.equal(state["0.sigma"], layer.sigma)
    assert state["0.weight"].dtype == torch.float16
