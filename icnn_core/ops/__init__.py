"""The operator and its back ends."""

from __future__ import annotations

from icnn_core.ops.irregular_conv import explain, irregular_conv2d

__all__ = ["explain", "irregular_conv2d"]
