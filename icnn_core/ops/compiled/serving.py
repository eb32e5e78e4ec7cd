"""What calls the back ends compiled by Numba serve, all alike."""

from __future__ import annotations

import importlib.util

import torch

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NARROW = (torch.bfloat16, torch.float16)
"""Held so, computed in float32."""
_HAS_NUMBA = importlib.util.find_spec("numba") is not None


def reasons_against(dtype: torch.dtype, device: torch.device) -> list[str]:
    """Why compiled loops cannot serve a call; empty if they can."""
    reasons = []
    if device.type != "cpu":
        reasons.append(f"it runs on the CPU, and the input lies on {device}")
    if dtype not in DTYPES:
        names = ", ".join(str(known).removeprefix("torch.") for known in DTYPES)
        reasons.append(f"it serves {names}, and the input is {str(dtype).removeprefix('torch.')}")
    if not _HAS_NUMBA:
        reasons.append("Numba is not installed")
    return reasons
