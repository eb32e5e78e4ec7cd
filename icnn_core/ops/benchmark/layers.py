"""The layers that are timed, and what is scaled."""

from __future__ import annotations

from dataclasses import dataclass

from icnn_core.errors import check_name


@dataclass(frozen=True)
class Layer:
    """A layer of stride 1 whose output has its input's size.

    Attributes:
        size: of the square image, in pixels. dilation, kernel: of both axes; the kernel is odd.
        full: a shape for every kernel and channel (sharing "none"), not one for every channel.
    """

    batch: int
    in_channels: int
    out_channels: int
    size: int
    dilation: int
    groups: int = 1
    kernel: int = 3
    full: bool = False

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel - 1) // 2

    @property
    def taps(self) -> int:
        return self.kernel**2

    @property
    def operations(self) -> int:
        """Multiplications and additions of the convolution, forward; backward there are twice as many."""
        pairs = self.out_channels * self.in_channels // self.groups
        return 2 * self.batch * pairs * self.taps * self.size**2


@dataclass(frozen=True)
class Case:
    """A layer with positions spread normally around their slots, `spread` pixels along each axis."""

    layer: Layer
    spread: float
    name: str


LAYERS = {
    "res4": Layer(1, 256, 256, 41, 2),
    "res4 ×4": Layer(4, 256, 256, 41, 2),
    "res5": Layer(1, 512, 512, 41, 4),
    "fc1": Layer(1, 2048, 21, 41, 12),
    "shallow": Layer(2, 64, 64, 80, 1),
    "depthwise": Layer(1, 384, 384, 41, 1, groups=384, kernel=7),
}
"""Layers of DeepLab-LargeFOV ResNet-101 at crop 321, a shallow one, and a depthwise one."""
SPREADS = {"near": 0.5, "far": 4.0}
"""Standard deviation of the positions around their slots, in pixels."""


def find_layer(name: str) -> Layer:
    """The layer of that name in `LAYERS`.

    Raises:
        NameNotFoundError: there is none.
    """
    check_name("bench", "a layer", name, LAYERS)
    return LAYERS[name]
