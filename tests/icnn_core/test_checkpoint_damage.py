"""A checkpoint whose numbers are not those that were written is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from icnn_core import IrregularConv2d, read_checkpoint, write_checkpoint
from icnn_core.errors import CheckpointError

MARK = 1234.5  # in one place of a tensor, found in the file by its bytes


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(IrregularConv2d(2, 3, (3, 2)), nn.BatchNorm2d(3))


def flip(path: Path) -> None:
    """Change one bit of the marked number."""
    data = bytearray(path.read_bytes())
    mark = torch.tensor(MARK).numpy().tobytes()
    assert data.count(mark) == 1
    data[data.index(mark)] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("where", ["0.weight", "0.positions", "1.running_var"])
def test_a_flipped_bit_in_a_tensor_is_refused(
    network: nn.Module, tmp_path: Path, suffix: str, where: str
) -> None:
    with torch.no_grad():
        network.state_dict()[where].view(-1)[1] = MARK
    path = write_checkpoint(tmp_path / f"net{suffix}", network)
    assert read_checkpoint(path).state[where].view(-1)[1] == MARK
    flip(path)
    with pytest.raises(CheckpointError, match=r"checksum differs.*another copy"):
        read_checkpoint(path)


def test_a_flipped_bit_in_what_a_run_goes_on_with_is_refused(network: nn.Module, tmp_path: Path) -> None:
    training = {
        "optimizers": {"state": {0: {"exp_avg": torch.tensor([0.5, MARK])}}},
        "random": [torch.get_rng_state()],
    }
    path = write_checkpoint(tmp_path / "last.pt", network, training=training)
    assert read_checkpoint(path).training["optimizers"]["state"][0]["exp_avg"][1] == MARK
    flip(path)
    with pytest.raises(CheckpointError, match="checksum differs"):
        read_checkpoint(path)


def test_files_without_a_checksum_are_read(network: nn.Module, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "net.pt", network)
    content = torch.load(path)
    header = json.loads(content["icnn"])
    assert header.pop("digest")
    old = json.dumps(header)
    torch.save(content | {"icnn": old}, path)
    save_file(content["state_dict"], tmp_path / "old.safetensors", metadata={"icnn": old})
    for name in ("net.pt", "old.safetensors"):
        assert torch.equal(read_checkpoint(tmp_path / name).state["0.weight"], network[0].weight)
