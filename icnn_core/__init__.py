"""Irregular convolutions: kernels whose weights have learnable, fractional positions (arXiv 1706.07966)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "IrregularConv2d": "icnn_core.nn",
    "irregular_conv2d": "icnn_core.ops.irregular_conv",
    "explain": "icnn_core.ops.irregular_conv",
    "make_irregular": "icnn_core.surgery",
    "fix_positions": "icnn_core.fixed",
    "parameter_groups": "icnn_core.optim",
    "split_positions": "icnn_core.optim",
    "StepBound": "icnn_core.optim",
    "read_checkpoint": "icnn_core.checkpoint",
    "write_checkpoint": "icnn_core.checkpoint",
    "build_model": "icnn_core.checkpoint",
    "deeplab_largefov": "icnn_core.models.deeplab",
    "IcnnError": "icnn_core.errors",
}
__all__ = [*_EXPORTS, "__version__"]

if TYPE_CHECKING:
    from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
    from icnn_core.errors import IcnnError
    from icnn_core.fixed import fix_positions
    from icnn_core.models.deeplab import deeplab_largefov
    from icnn_core.nn import IrregularConv2d
    from icnn_core.ops.irregular_conv import explain, irregular_conv2d
    from icnn_core.optim import StepBound, parameter_groups, split_positions
    from icnn_core.surgery import make_irregular


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
