"""What a back end must know of a call."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from icnn_core.ops.dense import Reach
from icnn_core.ops.geometry import Geometry


@dataclass(frozen=True)
class Request:
    """What a back end must know of a call to say whether it serves, and at what cost.

    Attributes:
        geometry: the call's sizes.
        dtype: in which the call computes: the input's, or autocast's.
        device: of the input.
        shared: False if every kernel has shapes of its own (sharing "none").
        gaussian: whether interpolation is Gaussian, not bilinear.
        native: whether only native operations can serve, see `registration.needs_native`.
        reach: the positions' reach, or None where their values cannot be read (tracing, vmap, meta tensors) or are not
            looked at.
        one_shape: whether all channels share one shape (sharing "layer").
    """

    geometry: Geometry
    dtype: torch.dtype
    device: torch.device
    shared: bool
    gaussian: bool
    native: bool
    reach: Reach | None
    one_shape: bool = False

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def with_reach(self, reach: Reach | None) -> Request:
        return self._with(self.geometry, reach)

    def with_geometry(self, geometry: Geometry) -> Request:
        return self._with(geometry, self.reach)

    def _with(
        self, geometry: Geometry, reach: Reach | None
    ) -> Request:  # the compiler cannot trace dataclasses.replace
        return Request(
            geometry, self.dtype, self.device, self.shared, self.gaussian, self.native, reach, self.one_shape
        )
