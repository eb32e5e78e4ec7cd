"""How every figure looks: two themes, one colour per slot, sizes in print, palettes for maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from icnn_core.errors import NameNotFoundError, nearest_names

MM = 1 / 25.4
COLUMN = 80 * MM
"""Width in inches of a journal's column: figures are made at this size, so that their text is read at this size."""
PAGE = 170 * MM
DPI = 300
PLAIN_TEXT: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}
"""matplotlib settings under which names of layers and classes are text, whatever they hold."""

# Eight colours for the eight directions, clockwise from the upper left. Found by annealing in OKLab: pairwise at
# least 0.19 apart in normal vision, 0.10 with protanopia and deuteranopia, 0.087 with tritanopia (Machado et al.
# 2009), the grey of the centre included; neighbours farther; luminance 0.10 to 0.42, so that white and near-black
# grounds both do.
_DIRECTIONS = ("#20bbef", "#89388c", "#f48ea4", "#067f04", "#e102cc", "#b0ae14", "#7c72fd", "#f20241")
_CENTRE = "#808080"


@dataclass(frozen=True)
class Look:
    """The colours of a theme. `sequential` and `diverging` are matplotlib names of perceptual colour maps."""

    name: str
    background: str
    text: str
    muted: str
    grid: str
    sequential: str
    diverging: str
    accent: str = "#d55e00"
    cross: str = "#ff1f1f"


_LOOKS = {
    "light": Look("light", "#ffffff", "#1a1a1a", "#5c5c5c", "#e2e2e2", "viridis", "PuOr"),
    "dark": Look("dark", "#14161a", "#ececec", "#a8adb5", "#30343b", "viridis", "PuOr"),
}
THEMES = tuple(_LOOKS)


def get_look(theme: str) -> Look:
    """The colours of "light" or "dark".

    Raises:
        NameNotFoundError: another name.
    """
    if theme not in _LOOKS:
        raise NameNotFoundError(
            "theme", needed="light or dark", got=repr(theme), fix=nearest_names(theme, _LOOKS)
        )
    return _LOOKS[theme]


@contextmanager
def use_theme(theme: str) -> Iterator[Look]:
    """Make every matplotlib artist created inside take the theme's colours, fonts and line widths."""
    import matplotlib as mpl

    look = get_look(theme)
    with mpl.rc_context(to_rc(look)):
        yield look


def to_rc(look: Look) -> dict[Any, Any]:
    """matplotlib settings of a look: 7 pt text, thin lines, no box on the right and top."""
    return {
        "figure.facecolor": look.background,
        "savefig.facecolor": look.background,
        "figure.dpi": 100,
        "savefig.dpi": DPI,
        "axes.facecolor": look.background,
        "axes.edgecolor": look.muted,
        "axes.labelcolor": look.text,
        "axes.titlecolor": look.text,
        "axes.titlesize": 7.5,
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "text.color": look.text,
        "xtick.color": look.muted,
        "ytick.color": look.muted,
        "xtick.labelcolor": look.text,
        "ytick.labelcolor": look.text,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "grid.color": look.grid,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.0,
        "legend.frameon": False,
        "legend.fontsize": 6.5,
        "legend.labelcolor": look.text,
        "font.size": 7,
        "font.family": ["DejaVu Sans", *_fallback_fonts()],
        **PLAIN_TEXT,
        "svg.fonttype": "path",
        "image.cmap": look.sequential,
    }


# For letters that DejaVu Sans lacks, where they are installed. Users' own settings come first.
_OTHER_SCRIPTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei"),
    *("Yu Gothic", "Malgun Gothic", "Nirmala UI", "Segoe UI", "Leelawadee UI", "Arial Unicode MS"),
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Noto Sans Arabic"),
    *("Noto Sans Hebrew", "Noto Sans Ethiopic", "Noto Sans", "Noto Emoji", "Unifont"),
)


def _fallback_fonts() -> list[str]:
    """Installed fonts that draw what DejaVu Sans cannot: those that the user's settings name, then known ones."""
    import matplotlib as mpl
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    wanted = (*mpl.rcParams["font.family"], *mpl.rcParams["font.sans-serif"], *_OTHER_SCRIPTS)
    return [name for name in dict.fromkeys(wanted) if name in installed and name != "DejaVu Sans"]


def to_plotly_layout(look: Look) -> dict[str, object]:
    """plotly layout settings of a look."""
    return {
        "paper_bgcolor": look.background,
        "plot_bgcolor": look.background,
        "font": {"color": look.text, "family": "DejaVu Sans, Verdana, sans-serif", "size": 13},
        "hoverlabel": {"font": {"family": "DejaVu Sans, Verdana, sans-serif"}},
        "margin": {"l": 10, "r": 10, "t": 90, "b": 10},
        "modebar": {"remove": ["sendChartToCloud"]},  # plotly's default; data stay here
    }


def slot_colours(slots: np.ndarray) -> list[str]:
    """One colour (hex) per slot (K, 2), the same in every figure and theme: hue says the direction, grey the centre.

    Kernels up to 3×3 take the eight colour-blind safe ones. Larger ones take hues round the circle, light and dark
    in turn like a chessboard, paler towards the centre; no 25 colours can be told apart by all, so figures carry
    a key of the slots.
    """
    extent = np.abs(slots).max(0)
    unit = slots / np.where(extent > 0, extent, 1.0)
    rows, columns = (np.unique(slots[:, axis]) for axis in (0, 1))
    if max(len(rows), len(columns)) <= 3:
        return [_direction_colour(y, x) for y, x in np.sign(unit)]
    parity = (np.searchsorted(rows, slots[:, 0]) + np.searchsorted(columns, slots[:, 1])) % 2
    ring = np.abs(unit).max(1)
    hue = np.arctan2(unit[:, 0], unit[:, 1])
    colours = _from_oklch(np.where(parity, 0.52, 0.72), 0.07 + 0.09 * ring, hue)
    return [_CENTRE if r < 1e-9 else colour for r, colour in zip(ring, colours, strict=True)]


def text_on(colour: str) -> str:
    """Black or white, whichever is read better on `colour` (hex)."""
    return "#000000" if luminance(colour) > 0.18 else "#ffffff"


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour, 0 to 1 (WCAG 2)."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def shorten(name: str, limit: int) -> str:
    """At most `limit` characters: the middle of a longer name gives way to an ellipsis, its end is kept."""
    if len(name) <= limit:
        return name
    head = (limit - 1) // 3
    return f"{name[:head]}…{name[len(name) - (limit - 1 - head) :]}"


def _direction_colour(y: float, x: float) -> str:
    clockwise = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    return _CENTRE if (y, x) == (0, 0) else _DIRECTIONS[clockwise.index((int(y), int(x)))]


def _from_oklch(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> list[str]:
    """Hex colours of OKLCh coordinates (B. Ottosson, 2020), clipped to sRGB."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    cones = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    mix = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(mix @ cones**3, 0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in np.rint(srgb.T * 255).astype(int)]
