"""The device that a user names; CUDA is played where there is none."""

from __future__ import annotations

import pytest
import torch

from icnn_core.devices import choose_device
from icnn_core.errors import DeviceError


def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="Try cpu"):
        choose_device("nonsense")


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = torch.empty
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch, "empty", lambda size, device: empty(size).fill_(0))


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("name", "rank", "chosen"),
    [
        ("auto", None, "cuda"),
        ("auto", "2", "cuda:2"),
        ("cuda", "3", "cuda:3"),
        ("cuda:1", "3", "cuda:1"),
        ("cpu", "3", "cpu"),
        ("auto", "5", "cuda:1"),  # more processes than GPUs share them
    ],
)
def test_each_launched_process_takes_its_own_gpu(
    monkeypatch: pytest.MonkeyPatch, name: str, rank: str | None, chosen: str
) -> None:
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert choose_device(name) == torch.device(chosen)
