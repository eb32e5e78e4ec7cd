"""What figures of positions have in common: axes in input pixels, slots, ellipses, the key of slots, view limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core.errors import ArgumentError
from icnn_viz.figures.sheet import Sheet
from icnn_viz.figures.style import MM, Look, emphasise, slot_colours, text_on
from icnn_viz.records import GaussianFit, PositionCloud

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Ellipse

MOST_KEYS = 4
"""Kinds of kernels on one sheet that get a key of their slots."""
X_LABEL = "x (input pixels from the kernel's centre)"
Y_LABEL = "y (input pixels from the kernel's centre)"


def view_half_width(clouds: Iterable[PositionCloud], fits: Iterable[GaussianFit] = ()) -> float:
    """Half the side of a square view round the kernel's centre: slots, 99.5 % of the points, and 2-sigma ellipses.

    All points, if that costs no more than a third of the scale. Ellipses that outliers have blown up may reach out.
    """
    reach, far = 0.5, 0.0
    for cloud in clouds:
        slots = np.abs(cloud.slots).max(initial=0.0)
        pitch = slots / max((max(cloud.kernel_size) - 1) / 2, 0.5)
        reach = max(reach, slots + 0.5 * pitch)
        distance = np.abs(finite_points(cloud)).max(-1)
        if distance.size:
            reach = max(reach, float(np.quantile(distance, 0.995)))
            far = max(far, float(distance.max()))
    ellipses = max((ellipse_reach(fit).max(initial=0.0) for fit in fits), default=0.0)
    reach = min(max(reach, ellipses), 4 / 3 * reach)
    return 1.04 * (far if reach < far <= 4 / 3 * reach else reach)


def ellipse_reach(fit: GaussianFit) -> np.ndarray:
    """(K,): how far each slot's 2-sigma ellipse reaches from the kernel's centre along either axis."""
    spread = np.sqrt(np.clip(np.diagonal(fit.covariance, axis1=1, axis2=2), 0, None))
    return (np.abs(fit.mean) + 2 * spread).max(-1)


def robust_top(values: np.ndarray, times: float = 3.0) -> float:
    """The largest of the finite values that are at most `times` their median: a few that ran away must not flatten the
    rest. 0 if there are none.
    """
    values = values[np.isfinite(values)]
    return float(values[values <= times * np.median(values)].max(initial=0.0)) if values.size else 0.0


def magnified(cloud: PositionCloud, fit: GaussianFit, factor: float) -> tuple[PositionCloud, GaussianFit]:
    """The cloud and its fit with every displacement from the slots `factor` times as long."""
    positions = cloud.slots + factor * (cloud.positions - cloud.slots)
    mean = cloud.slots + factor * (fit.mean - cloud.slots)
    return replace(cloud, positions=positions), replace(fit, mean=mean, covariance=factor**2 * fit.covariance)


def describe_factor(factor: float) -> str:
    """What a figure says of magnified displacements; empty at 1."""
    return "" if factor == 1 else f"; displacements ×{factor:g}"


def finite_points(cloud: PositionCloud) -> np.ndarray:
    """(n, 2): all finite points of a cloud."""
    points = cloud.points.reshape(-1, 2)
    return points[np.isfinite(points).all(-1)]


def set_view(ax: Axes, half_width: float, *, labels: bool = True) -> None:
    """A square view in input pixels: equal aspect, y downwards as in images."""
    from matplotlib.ticker import MaxNLocator

    ax.set(xlim=(-half_width, half_width), ylim=(half_width, -half_width), aspect="equal")
    if labels:
        ax.set(xlabel=X_LABEL, ylabel=Y_LABEL)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.grid(True)


def draw_slots(ax: Axes, slots: np.ndarray, look: Look, *, size: float = 18, width: float = 0.8) -> None:
    """A cross on every regular position."""
    style = {"marker": "+", "s": size, "zorder": 8}
    ax.scatter(slots[:, 1], slots[:, 0], color=look.background, linewidths=width + 1.0, **style)  # type: ignore[arg-type]
    ax.scatter(slots[:, 1], slots[:, 0], color=look.text, linewidths=width, gid="slots", **style)  # type: ignore[arg-type]


def make_ellipse(
    mean: np.ndarray, half_axes: np.ndarray, major: np.ndarray, look: Look | None = None, **style: Any
) -> Ellipse:
    """An ellipse about `mean` (y, x) with half axes (major, minor) in pixels, `major` being the direction (y, x).

    Args:
        look: with one, an outline is set off from what lies under it.
        style: as of matplotlib's patches; without a fill unless it gives one.
    """
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    angle = float(np.degrees(np.arctan2(major[0], major[1])))
    ellipse = Ellipse(
        (mean[1], mean[0]), 2 * half_axes[0], 2 * half_axes[1], angle=angle, **{"fill": False} | style
    )
    if look is not None:
        rim = {"linewidth": ellipse.get_linewidth() + 1.0, "foreground": look.background, "alpha": 0.7}
        ellipse.set_path_effects([withStroke(**rim)])
    return ellipse


def draw_ellipses(
    ax: Axes, fit: GaussianFit, colours: Sequence[str], look: Look, *, width: float = 0.9
) -> None:
    """The Gaussian ellipses of every slot whose fit is "ok": 1 sigma solid, 2 sigma dashed."""
    spread, directions = fit.axes()
    for slot in np.flatnonzero(fit.state == "ok").tolist():
        for sigma in (1, 2):
            ellipse = make_ellipse(
                fit.mean[slot],
                sigma * spread[slot],
                directions[slot, 0],
                look,
                edgecolor=emphasise(colours[slot], look),
                linewidth=width,
                linestyle="-" if sigma == 1 else (0, (4, 2)),
                zorder=5,
                gid=f"slot {slot}, {sigma} sigma",
            )
            ax.add_artist(ellipse)  # add_patch would measure it for limits that are set


def draw_centres(ax: Axes, fit: GaussianFit, colours: Sequence[str], look: Look, *, size: float = 20) -> None:
    """A dot on the mean of every slot's points."""
    known = fit.count > 0
    ax.scatter(
        fit.mean[known, 1],
        fit.mean[known, 0],
        s=size,
        c=[emphasise(colour, look) for colour, shown in zip(colours, known, strict=True) if shown],
        edgecolors=look.background,
        linewidths=0.6,
        zorder=7,
        gid="centres",
    )


def tap_colours(cloud: PositionCloud, look: Look) -> list[str]:
    """The colours of a layer's slots; one for all of its weights where slots mean nothing."""
    return slot_colours(cloud.slots) if cloud.regular else [look.accent] * len(cloud.slots)


def draw_key(
    sheet: Sheet,
    box: tuple[float, float, float, float],
    slots: np.ndarray,
    look: Look,
    *,
    title: str = "slot",
) -> None:
    """A small copy of the kernel: each slot's colour and number where the slot lies; without axes, which would take
    most of its time.

    Args:
        box: left, bottom, width and height in mm. The key lies in its middle, `title` above it.
    """
    from matplotlib.collections import PolyCollection

    rows, columns = (np.unique(slots[:, axis]) for axis in (0, 1))
    grid = len(rows) * len(columns) == len(slots)
    ys, xs = (np.searchsorted(rows, slots[:, 0]), np.searchsorted(columns, slots[:, 1])) if grid else slots.T
    wide, tall = np.ptp(xs) + 1, np.ptp(ys) + 1
    left, bottom, width, height = box
    unit = min(width / wide, height / tall)
    xs = left + width / 2 + unit * (xs - (xs.min() + xs.max()) / 2)
    ys = bottom + height / 2 - unit * (ys - (ys.min() + ys.max()) / 2)
    turns = np.pi * (np.array([1, 3, 5, 7]) / 4 if grid else np.arange(24) / 12)  # squares; else dots
    corners = (0.65 * unit if grid else 0.49) * np.stack([np.cos(turns), np.sin(turns)], 1)
    marks = list(MM * (np.stack([xs, ys], 1)[:, None] + corners))
    style = {"facecolors": slot_colours(slots), "linewidths": 0, "gid": "key"}
    sheet.figure.add_artist(PolyCollection(marks, transform=sheet.figure.dpi_scale_trans, **style))
    if grid and len(slots) <= 16:
        for number, (colour, x, y) in enumerate(zip(slot_colours(slots), xs, ys, strict=True)):
            words = {"ha": "center", "va": "center", "fontsize": 5.5, "color": text_on(colour)}
            sheet.write(x, y - 0.04 * unit, str(number), **words)
    top = bottom + height / 2 + unit * tall / 2
    sheet.write(left + width / 2, top + 0.7, title, ha="center", fontsize=6, color=look.muted)


def draw_keys(sheet: Sheet, clouds: Sequence[PositionCloud], look: Look) -> float:
    """A key for each kind of kernel among the layers, in the sheet's upper right corner, the largest at the edge.

    Kernels of one size and shape of grid share a key. Returns the mm to keep clear there. The first four kinds get
    one; their titles say which they are.
    """
    kinds: dict[tuple[str, ...], PositionCloud] = {}
    for cloud in clouds:
        kinds.setdefault(tuple(slot_colours(cloud.slots)), cloud)
    chosen = sorted(kinds.values(), key=lambda cloud: -len(cloud.slots))[:MOST_KEYS]
    for place, cloud in enumerate(chosen):
        title = "slot" if len(kinds) == 1 else "slot of {}×{}".format(*cloud.kernel_size)
        box = sheet.width - 14 - 15 * place, sheet.height - 13, 12, 9
        draw_key(sheet, box, cloud.slots, look, title=title)
    return 16 + 15 * (len(chosen) - 1)


def choose_slots(fit: GaussianFit, slots: Sequence[int]) -> GaussianFit:
    """The fit with every other slot's state "not chosen".

    Raises:
        ArgumentError: a slot that the layer has not.
    """
    wrong = [slot for slot in slots if not 0 <= slot < len(fit.state)]
    if wrong:
        needed, got = f"0 to {len(fit.state) - 1}", f"{wrong[0]}"
        raise ArgumentError(f"slots of {fit.layer}", needed=needed, got=got, fix="Choose one that exists.")
    chosen = np.isin(np.arange(len(fit.state)), slots)
    return replace(fit, state=np.where(chosen, fit.state, "not chosen"))
