"""Irregular convolutions: kernels whose weights have learnable, fractional positions (arXiv 1706.07966)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icnn_core.lazy import lazily

__version__ = "0.1.0"

_EXPORTS = {
    "icnn_core.nn": "IrregularConv2d",
    "icnn_core.ops.irregular_conv": "irregular_conv2d explain",
    "icnn_core.surgery": "make_irregular",
    "icnn_core.fixed": "fix_positions",
    "icnn_core.optim": "parameter_groups split_positions StepBound",
    "icnn_core.checkpoint": "read_checkpoint write_checkpoint build_model",
    "icnn_core.models.deeplab": "deeplab_largefov",
    "icnn_core.errors": "IcnnError",
}
__getattr__, __dir__ = lazily(__name__, _EXPORTS, "__version__")
__all__ = __dir__()

if TYPE_CHECKING:
    from icnn_core.checkpoint import build_model as build_model
    from icnn_core.checkpoint import read_checkpoint as read_checkpoint
    from icnn_core.checkpoint import write_checkpoint as write_checkpoint
    from icnn_core.errors import IcnnError as IcnnError
    from icnn_core.fixed import fix_positions as fix_positions
    from icnn_core.models.deeplab import deeplab_largefov as deeplab_largefov
    from icnn_core.nn import IrregularConv2d as IrregularConv2d
    from icnn_core.ops.irregular_conv import explain as explain
    from icnn_core.ops.irregular_conv import irregular_conv2d as irregular_conv2d
    from icnn_core.optim import StepBound as StepBound
    from icnn_core.optim import parameter_groups as parameter_groups
    from icnn_core.optim import split_positions as split_positions
    from icnn_core.surgery import make_irregular as make_irregular
