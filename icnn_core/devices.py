"""The device that a user names, and the processors that may be used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from icnn_core.errors import DeviceError

if TYPE_CHECKING:
    import torch


def count_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str) -> torch.device:
    """ "auto" (CUDA, else the CPU) or a device's name. Of several GPUs each launched process takes its own.

    Raises:
        DeviceError: no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and (rank := os.environ.get("LOCAL_RANK")):  # of accelerate launch and torchrun
        name = f"cuda:{int(rank) % max(torch.cuda.device_count(), 1)}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()  # meta has no values
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DeviceError(
            "--device", needed="a device of this machine", got=f"{name} ({reason})", fix="Try cpu."
        ) from error
    return device


def check_default_device(who: str) -> None:
    """Nothing, if PyTorch makes tensors on the CPU unless told otherwise, as data and their loaders need it.

    Raises:
        DeviceError: another default device is set.
    """
    import torch

    if (default := torch.get_default_device()).type != "cpu":
        needed = "the CPU as PyTorch's default device, for data are made there"
        fix = 'Set it back, torch.set_default_device("cpu"), and name the device to compute on with device=.'
        raise DeviceError(who, needed=needed, got=str(default), fix=fix)
