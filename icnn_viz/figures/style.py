"""How every figure looks: two themes, one colour per slot, sizes in print, palettes for maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from icnn_core.errors import check_name

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
_CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
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


DARK_DIVERGING = "icnn_PuOr_dark"
"""PuOr's hues for a dark ground: the middle is dark, as 0 should be, and both ends are light."""
_DARK_STOPS = ("#ffc069", "#d08327", "#7a4d1d", "#262930", "#55467f", "#8a78d0", "#c3b5ff")
_LOOKS = {
    "light": Look("light", "#ffffff", "#1a1a1a", "#5c5c5c", "#e2e2e2", "viridis", "PuOr"),
    "dark": Look("dark", "#14161a", "#ececec", "#a8adb5", "#30343b", "viridis", DARK_DIVERGING),
}
THEMES = tuple(_LOOKS)
WHITE = "#fefefe"
"""White in both themes, on photographs and colours; not quite, as what is white in the light one is its ground."""
_SHARED = ("background", "text", "muted", "grid")
_dark_colours = {getattr(_LOOKS["light"], name): getattr(_LOOKS["dark"], name) for name in _SHARED}


def dark_colours() -> dict[str, str]:
    """By colours of figures drawn in the light theme so far (hex), what they are in the dark one; others are alike."""
    return dict(_dark_colours)


def get_look(theme: str) -> Look:
    """The colours of "light" or "dark".

    Raises:
        NameNotFoundError: another name.
    """
    check_name("theme", "light or dark", theme, _LOOKS)
    return _LOOKS[theme]


@contextmanager
def use_theme(theme: str) -> Iterator[Look]:
    """Make every matplotlib artist created inside take the theme's colours, fonts and line widths."""
    import matplotlib as mpl

    look = get_look(theme)
    register_maps()
    with mpl.rc_context(to_rc(look)):
        yield look


def register_maps() -> None:
    """Make the colour maps of the looks known to matplotlib by their names."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    if DARK_DIVERGING not in colormaps:
        colormaps.register(LinearSegmentedColormap.from_list(DARK_DIVERGING, _DARK_STOPS))


def to_rc(look: Look) -> dict[Any, Any]:
    """matplotlib settings of a look: 7 pt text, thin lines, no box on the right and top."""
    ticks = {"color": look.muted, "labelcolor": look.text, "labelsize": 6.5, "major.width": 0.6}
    ticks |= {"major.size": 2.5}
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
        "axes.titley": 1.0,  # else each axes measures all its labels to find the title's place
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "text.color": look.text,
        **{f"{axis}tick.{key}": value for key, value in ticks.items() for axis in "xy"},
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

    Kernels up to 3×3 take the eight colour-blind safe ones. Larger ones, and slots of which two lie in one direction,
    take hues round the circle (a single row or column: along it), light and dark in turn like a chessboard, paler
    towards the centre; each moves as far as it must to keep its distance from all others: 0.045 in OKLab up to
    11×11 slots, 0.018 up to 31×31. No 25 colours can be told apart by all, so figures carry a key of the slots;
    beyond 1,024 slots near ones are alike.
    """
    return list(_choose_colours(slots.shape[0], np.ascontiguousarray(slots, dtype=float).tobytes()))


@lru_cache(maxsize=32)
def _choose_colours(count: int, data: bytes) -> tuple[str, ...]:
    slots = np.frombuffer(data).reshape(count, 2)
    extent = np.abs(slots).max(0, initial=0.0)
    unit = slots / np.where(extent > 0, extent, 1.0)
    signs = [(int(y), int(x)) for y, x in np.sign(unit)]
    if len(set(signs)) == count:
        return tuple(_CENTRE if sign == (0, 0) else _DIRECTIONS[_CLOCKWISE.index(sign)] for sign in signs)
    rows, columns = (np.unique(slots[:, axis], return_inverse=True)[1].ravel() for axis in (0, 1))
    ring, hue = np.abs(unit).max(1), np.arctan2(unit[:, 0], unit[:, 1])
    if rows.max() == 0 or columns.max() == 0:
        hue = 2 * np.pi * (rows + columns) / count
    lightness = np.where((rows + columns) % 2, 0.52, 0.72)
    chroma = 0.07 + 0.09 * ring
    ideal = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    centre = ring < 1e-9
    colours = _from_oklab(ideal if count > 1024 else _kept_apart(ideal, centre))
    return tuple(_CENTRE if grey else colour for grey, colour in zip(centre, colours, strict=True))


def _kept_apart(ideal: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Colours (K, 3) in OKLab near the ideal ones, of the same lightness within 0.07, with a least distance between
    any two: the largest of a list that can be kept. What is fixed becomes the centre's grey.
    """
    grid = np.stack(np.meshgrid(np.arange(0.45, 0.8, 0.014), *[np.arange(-0.24, 0.25, 0.012)] * 2), -1)
    grid = grid.reshape(-1, 3)
    linear = _to_linear(grid)
    grid = grid[((linear > 0) & (linear < 1)).all(1)]
    grey = np.array([0.6, 0.0, 0.0])
    for least in (0.05, 0.04, 0.03, 0.02, 0.015, 0.01)[0 if len(ideal) <= 121 else 3 :]:
        chosen, free = ideal.copy(), np.linalg.norm(grid - grey, axis=1) >= least
        for number in np.flatnonzero(~fixed):
            there = free & (np.abs(grid[:, 0] - ideal[number, 0]) < 0.07)
            if not there.any():
                break
            far = ((grid - ideal[number]) ** 2).sum(1)
            far[~there] = np.inf
            chosen[number] = grid[far.argmin()]
            free &= ((grid - chosen[number]) ** 2).sum(1) >= least**2
        else:
            return chosen
    return ideal


def emphasise(colour: str, look: Look) -> str:
    """`colour` moved a third of the way to the text's colour, to stand out from points of the same colour."""
    return mix(colour, "text", 0.38, look)


@lru_cache(maxsize=4096)
def mix(colour: str, other: str, share: float, look: Look) -> str:
    """`colour` (hex) with a share of the theme's colour of that name; which is kept for `dark_colours`."""
    light, dark = (_mix(colour, getattr(_LOOKS[theme], other), share) for theme in ("light", "dark"))
    _dark_colours[light] = dark
    return light if look.name == "light" else dark


def _mix(one: str, other: str, share: float) -> str:
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#{:02x}{:02x}{:02x}".format(*(round((1 - share) * a + share * b) for a, b in pairs))


def text_on(colour: str) -> str:
    """Black or white, whichever is read better on `colour` (hex)."""
    return "#000000" if luminance(colour) > 0.18 else WHITE


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour, 0 to 1 (WCAG 2)."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def shorten(name: str, limit: int) -> str:
    """At most `limit` characters: of a longer name the middle gives way to an ellipsis, of a module's its leading parts
    if the rest fills half of the limit. Its end is kept."""
    if len(name) <= limit:
        return name
    dots = [at for at, letter in enumerate(name) if letter == "."]
    tails = (name[at:] for at in dots if f"_{name.replace('.', '')}".isidentifier())
    tail = next((tail for tail in tails if len(tail) <= limit - 1), "")
    if len(tail) > limit // 2:
        return "…" + tail[1:]
    head = (limit - 1) // 3
    return f"{name[:head]}…{name[len(name) - (limit - 1 - head) :]}"


def _to_linear(lab: np.ndarray) -> np.ndarray:
    """Linear sRGB (…, 3) of OKLab colours (B. Ottosson, 2020); outside 0 to 1 where sRGB has no such colour."""
    to_cones = np.array(
        [
            [1.0, 0.3963377774, 0.2158037573],
            [1.0, -0.1055613458, -0.0638541728],
            [1.0, -0.0894841775, -1.2914855480],
        ]
    )
    mix = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    return (lab @ to_cones.T) ** 3 @ mix.T


def _from_oklab(lab: np.ndarray) -> list[str]:
    """Hex colours of OKLab coordinates (K, 3), clipped to sRGB."""
    linear = np.clip(_to_linear(lab), 0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in np.rint(srgb * 255).astype(int)]
