"""Model + image + pixel -> PixelTaps: where the taps of its convolutions land on the image."""

from icnn_viz.taps.compose import MOST
from icnn_viz.taps.offsets import LAYOUTS, OffsetSource
from icnn_viz.taps.pixel import Watched, pixel_taps, watch

__all__ = ["LAYOUTS", "MOST", "OffsetSource", "Watched", "pixel_taps", "watch"]
