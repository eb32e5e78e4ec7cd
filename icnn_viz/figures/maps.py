"""What figures of heatmaps have in common: one scale for several maps, the cross, contours, colour bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import check_name
from icnn_viz.figures.style import WHITE, Look, register_maps
from icnn_viz.heatmaps import density_region
from icnn_viz.records import Heatmap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

_ROUNDING = 1e-5
"""Share of the largest value below which two maps of single precision do not differ."""
SQRT = 0.5
CLIP = 0.999
DIFFERENCES = ("shares", "raw")
"""How two maps are made comparable before one is taken from the other, see `to_difference`."""
CONTOURS = (0.5, 0.9)
_LINES = {0.5: "-", 0.9: (0, (3, 1.6))}


@dataclass(frozen=True)
class HeatScale:
    """One scale for maps that are compared; no map is normalised by itself.

    Attributes:
        top: the value at the end of the scale; larger ones (at most 1 in 1,000 pixels) are drawn in its colour.
        beyond: whether there are larger ones.
        gamma: 1 is linear; 0.5, colours by the square root, lets faint parts be seen.
        unit: of the values.
        signed: whether it is symmetric about 0.
    """

    top: float
    beyond: bool
    gamma: float = SQRT
    unit: str = ""
    signed: bool = False

    def colours(self, look: Look) -> str:
        """The name of the colour map."""
        return look.diverging if self.signed else look.sequential

    def norm(self) -> Normalize:
        """For maps, from 0; or symmetric about 0 if it is signed."""
        from matplotlib.colors import PowerNorm

        if self.signed:
            return self.signed_norm()
        return PowerNorm(self.gamma, vmin=0, vmax=self.top, clip=True)

    def signed_norm(self) -> Normalize:
        """For differences, symmetric about 0 with the same gamma."""
        from matplotlib.colors import FuncNorm

        def forward(v: np.ndarray) -> np.ndarray:
            return np.sign(v) * np.abs(v) ** self.gamma

        def inverse(v: np.ndarray) -> np.ndarray:
            return np.sign(v) * np.abs(v) ** (1 / self.gamma)

        return FuncNorm((forward, inverse), vmin=-self.top, vmax=self.top, clip=True)


def scale_of(heatmaps: Sequence[Heatmap], method: str, gamma: float = SQRT) -> HeatScale:
    """The scale of heatmaps of one pixel, signed where they have signs."""
    signed = any(heatmap.signed is not None for heatmap in heatmaps)
    return fit_scale(
        [heatmap.shown for heatmap in heatmaps], gamma=gamma, unit=unit_of(method), signed=signed
    )


def to_difference(
    first: Heatmap, second: Heatmap, kind: str, scale: HeatScale
) -> tuple[np.ndarray, HeatScale, str]:
    """The first minus the second, its scale, and what it is called.

    Args:
        kind: "shares": each map is divided by its energy before, so that it says where either looks more, not which has
            the larger gradients; "raw": as they are.
        scale: of the maps.

    What differs by rounding alone is no difference: 0.

    Raises:
        NameNotFoundError: another kind.
    """
    check_difference(kind)
    raw = kind == "raw"
    maps = (first.shown, second.shown) if raw else (first.shares, second.shares)
    values = maps[0] - maps[1]
    if np.abs(values).max() < _ROUNDING * max(np.abs(one).max() for one in maps):
        values = np.zeros_like(values)
    unit, name = (scale.unit, "difference") if raw else ("of the energy", "difference of shares")
    return values, fit_scale([values], gamma=scale.gamma, unit=unit, signed=True), name


def check_difference(kind: str) -> None:
    """Raises: NameNotFoundError: not one of DIFFERENCES."""
    check_name("difference", "shares or raw", kind, DIFFERENCES)


def fit_scale(
    maps: Sequence[np.ndarray], *, gamma: float = SQRT, unit: str = "", signed: bool = False
) -> HeatScale:
    """The scale on which all of `maps` (H, W), signed or not, can be seen together."""
    sizes = np.concatenate([np.abs(m).ravel() for m in maps])
    largest = float(sizes.max())
    top = float(np.quantile(sizes, CLIP)) if largest else 1.0
    # A map of a few pixels must not be cut down to nothing by its own quantile.
    top = _round_up(max(top, 0.1 * largest))
    return HeatScale(top, largest > top, gamma, unit, signed)


def unit_of(method: str) -> str:
    """The unit of a map made by an attribution method."""
    return "logit" if method in ("gradient*input", "integrated") else "logit per unit of normalised input"


def name_of(method: str, *, signed: bool = False) -> str:
    """What the values of a map made by an attribution method are called."""
    name = "attribution" if unit_of(method) == "logit" else "gradient"
    return name if signed else f"|{name}|"


def network_colours(look: Look, count: int) -> list[str]:
    """Of networks that are compared: the ends of the difference's colours, so that what is purple in it is the first's,
    what is orange the second's; others are grey."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    register_maps()
    ends = [to_hex(colormaps[look.diverging](place)) for place in (0.92, 0.12)]
    return [*ends, *[look.muted] * count][:count] if count > 1 else [look.text]


def draw_map(ax: Axes, values: np.ndarray, norm: Normalize, cmap: str) -> Any:
    """Show (H, W) values on the pixels of the image; returns the artist for a colour bar."""
    height, width = values.shape
    return ax.imshow(values, norm=norm, cmap=cmap, interpolation="nearest", extent=_extent(height, width))


def draw_photo(ax: Axes, image: np.ndarray) -> None:
    """Show (H, W, 3) uint8."""
    ax.imshow(image, interpolation="nearest", extent=_extent(*image.shape[:2]))


def draw_cross(ax: Axes, pixel: tuple[int, int], look: Look, size: float = 7) -> None:
    """A red cross on the pixel, with a white and a dark rim so that it is seen on anything, by anyone."""
    y, x = pixel
    for colour, width in (("#000000", 3.4), (WHITE, 2.4), (look.cross, 1.3)):
        ax.plot(
            [x],
            [y],
            marker="x",
            markersize=size,
            markeredgewidth=width,
            color=colour,
            linestyle="none",
            zorder=9,
            clip_on=False,
        )


def contour_smoothing(shape: tuple[int, int]) -> float:
    """Standard deviation in pixels of the blur under contours: 1.2 % of the image's diagonal."""
    return 0.012 * float(np.hypot(*shape))


def draw_contours(
    ax: Axes, heatmap: Heatmap, colour: str, rim: str | None = None, width: float = 0.9
) -> None:
    """Outlines of the smallest regions that hold 50 % (solid) and 90 % (dashed) of the energy of the blurred map.

    Raw gradients are speckled: outlines of their own regions would be rings round single pixels.
    """
    for share, level, xs, ys, padded in find_levels(heatmap):
        style = {"colors": [colour], "linewidths": width, "linestyles": [_LINES[share]]}
        _set_rim(ax.contour(xs, ys, padded, [level], **style), rim, width)


def find_levels(heatmap: Heatmap) -> list[tuple[float, float, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each of `CONTOURS` the share, the level of the blurred map, and the map itself: x, y, values, with a rim of
    zeros so that outlines close at the border."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(heatmap.values, contour_smoothing(heatmap.values.shape), mode="reflect")
    if not blurred.any():
        return []
    smooth = Heatmap(blurred, heatmap.pixel, heatmap.network)
    levels = [(share, float(blurred[density_region(smooth, share)].min())) for share in CONTOURS]
    padded = pad(blurred)
    return [(share, level, *padded) for share, level in levels if level < blurred.max()]


def pad(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and values of a map (H, W) with zeros around it, at the outer edges of its pixels."""
    ys, xs = (np.concatenate([[-0.5], np.arange(n), [n - 0.5]]) for n in values.shape)
    return xs, ys, np.pad(values.astype(float), 1)


def draw_outline(ax: Axes, mask: np.ndarray, colour: str, rim: str, dash: Any = "-") -> None:
    """The outline of a part (H, W) bool of the image."""
    if mask.any():
        style = {"colors": [colour], "linewidths": 0.9, "linestyles": [dash]}
        _set_rim(ax.contour(*pad(mask), [0.5], **style), rim, 0.9)


def _set_rim(drawn: Any, rim: str | None, width: float) -> None:
    from matplotlib.patheffects import withStroke

    if rim:
        drawn.set_path_effects([withStroke(linewidth=2.2 * width, foreground=rim, alpha=0.6)])


def _round_up(value: float) -> float:
    """The next number whose quarter and sixteenth are short, so that ticks can be true."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(
        next(step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 4.8, 6.4, 8, 10) if step * power >= value) * power
    )


def _extent(height: int, width: int) -> tuple[float, float, float, float]:
    return (-0.5, width - 0.5, height - 0.5, -0.5)
