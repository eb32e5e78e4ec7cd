"""The device that a user names."""

from __future__ import annotations

import torch

from icnn_core.errors import DeviceError


def choose_device(name: str) -> torch.device:
    """ "auto" (CUDA, else the CPU) or a device's name.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()  # meta has no values
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DeviceError(
            "--device", needed="a device of this machine", got=f"{name} ({reason})", fix="Try cpu."
        ) from error
    return device
