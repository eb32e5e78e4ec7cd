"""A figure laid out in millimetres: headings, notes, panels, each where it belongs at the size it is printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from icnn_viz.figures.style import MM, PAGE, Look, shorten

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import Transform

WIDTH = PAGE / MM
MARGIN = 3.0
CHARACTER = 1.42  # mm, the mean width of a letter of 7 pt, rounded up
_LETTER = 1.5  # of a 6 pt note that is centred
_SUBTITLE_LETTER = 1.22  # of a 6.5 pt line below a title
_BOLD_LETTER = 1.92  # of a 7.5 pt title


class Panel:
    """A framed square with coordinates of its own from -`reach` to `reach`, y downwards. It has no axis, no ticks and
    no spines, which take most of a figure's time where panels are many; it takes collections as axes do.
    """

    def __init__(self, figure: Figure, frame: Rectangle, reach: float) -> None:
        from matplotlib.transforms import Affine2D

        self.figure, self.frame = figure, frame
        x, y, size = frame.get_x(), frame.get_y(), frame.get_width()
        own = Affine2D().translate(reach, -reach).scale(size / (2 * reach), -size / (2 * reach))
        self.transData: Transform = own.translate(x, y) + figure.dpi_scale_trans
        figure.add_artist(frame, clip=False)

    def write_title(self, text: str, **style: Any) -> None:
        """A line above the frame; `style` as of matplotlib's text."""
        from matplotlib.transforms import ScaledTranslation

        x, top = self.frame.get_x() + self.frame.get_width() / 2, self.frame.get_y() + self.frame.get_height()
        move = ScaledTranslation(0, 2 / 72, self.figure.dpi_scale_trans)
        transform = self.figure.dpi_scale_trans + move
        self.figure.text(x, top, text, ha="center", va="baseline", transform=transform, **style)

    def add_collection(self, artist: Artist, autolim: bool = False) -> None:
        """An artist that lies behind the frame's edge, and ends there."""
        artist.set_clip_path(self.frame)
        self.figure.add_artist(artist, clip=False)


class Sheet:
    """A new figure of `width` × `height` mm. Places are given in mm from its lower left corner."""

    def __init__(self, width: float, height: float, look: Look) -> None:
        from matplotlib.figure import Figure

        self.width, self.height, self.look = width, height, look
        self.figure = Figure(figsize=(width * MM, height * MM))

    def add_axes(self, left: float, bottom: float, width: float, height: float, **options: Any) -> Axes:
        """Axes in a box of mm; `options` as of matplotlib."""
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **options)

    def add_panels(
        self,
        count: int,
        columns: int,
        *,
        left: float,
        bottom: float,
        size: float,
        gap: tuple[float, float],
        reach: float,
    ) -> list[Panel]:
        """Panels in the places of `add_grid`'s axes."""
        from matplotlib.patches import Rectangle

        panels = []
        for x, y in _grid_places(count, columns, left, bottom, size, gap):
            style = {"fill": False, "edgecolor": self.look.grid, "linewidth": 0.6, "zorder": 0}
            transform = self.figure.dpi_scale_trans
            frame = Rectangle((x * MM, y * MM), size * MM, size * MM, transform=transform, **style)
            panels.append(Panel(self.figure, frame, reach))
        return panels

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Text at a place in mm; `style` as of matplotlib's text."""
        self.figure.text(x / self.width, y / self.height, text, **style)

    def write_heading(
        self, title: str, subtitle: str = "", *, left: float = 12.0, right: float = 2.0, wrap: bool = False
    ) -> None:
        """A bold title, shortened if too long, and a muted line below it, of which `wrap` makes two if it is too long;
        mm to keep clear on both sides."""
        room, top = self.width - left - right, self.height - 2.4
        title = shorten(title, int(room / _BOLD_LETTER))
        self.write(left, top, title, fontsize=7.5, weight="bold", va="center")
        lines = [subtitle]
        if wrap:
            lines = textwrap.wrap(subtitle, int(room / _SUBTITLE_LETTER), max_lines=2, placeholder=" …")
        for number, line in enumerate(lines):
            self.write(left, top - 3.6 - 2.8 * number, line, fontsize=6.5, color=self.look.muted, va="center")

    def rule(self, left: float, right: float, y: float, *, colour: str | None = None) -> None:
        """A thin line across, for tables and groups."""
        from matplotlib.lines import Line2D

        xs, ys = [left / self.width, right / self.width], [y / self.height] * 2
        self.figure.add_artist(Line2D(xs, ys, color=colour or self.look.grid, linewidth=0.5))

    def write_footnote(self, text: str, *, left: float = MARGIN, most: int = 4) -> None:
        """Small muted lines from `left` on, above the lower edge; at most so many, the last then cut in its middle."""
        room = int((self.width - left - MARGIN) / (CHARACTER * 6 / 7))
        lines = textwrap.wrap(text, room)
        if len(lines) > most:
            lines = [*lines[: most - 1], shorten(" ".join(lines[most - 1 :]), room)]
        style = {"fontsize": 6, "color": self.look.muted, "va": "bottom", "linespacing": 1.3}
        self.write(left, 1.2, "\n".join(lines), **style)

    def write_notes(self, notes: Sequence[str], *, top: float = 5.9) -> None:
        """Small muted lines below the figure, centred, the first at `top`."""
        lines = textwrap.fill("; ".join(notes), int(self.width / _LETTER) + 10)
        style = {"fontsize": 6, "color": self.look.muted, "ha": "center", "va": "top", "linespacing": 1.3}
        self.write(self.width / 2, top, lines, **style)

    def add_grid(
        self,
        count: int,
        columns: int,
        *,
        left: float,
        bottom: float,
        size: float,
        gap: tuple[float, float],
        **options: Any,
    ) -> list[Axes]:
        """`count` square axes of `size` mm, row by row from the upper left; `gap` (across, down) between them."""
        places = _grid_places(count, columns, left, bottom, size, gap)
        return [self.add_axes(x, y, size, size, **options) for x, y in places]


def _grid_places(
    count: int, columns: int, left: float, bottom: float, size: float, gap: tuple[float, float]
) -> list[tuple[float, float]]:
    """Lower left corners, row by row from the upper left."""
    rows = -(-count // columns)
    return [
        (
            left + (number % columns) * (size + gap[0]),
            bottom + (rows - 1 - number // columns) * (size + gap[1]),
        )
        for number in range(count)
    ]


def choose_columns(count: int, most: int = 8) -> int:
    """Columns of a grid of `count` panels on a page a little wider than high."""
    columns = next(
        columns for columns in range(1, count + 1) if columns * columns >= 1.3 * count or columns == count
    )
    return min(columns, most)


def distinct_names(layers: Sequence[str], room: int | None = None) -> list[str]:
    """Names for small panels: of each as many trailing parts as tell it from all others, a number not alone.

    Args:
        room: letters that a name may have, see `shorten_apart`.
    """
    names = _trailing_parts(layers)
    return names if room is None else shorten_apart(names, room)


def shorten_apart(names: Sequence[str], room: int) -> list[str]:
    """Each of at most `room` letters. Those that would be cut to the same keep the letters of their beginnings that
    tell them apart, if these are fewer."""
    short = [shorten(name, room) for name in names]
    for cut in {name for name in short if short.count(name) > 1}:
        same = [number for number, name in enumerate(short) if name == cut]
        for head in range(1, room - 2):
            told = [f"{names[n][:head]}…{names[n][1 + head - room :].lstrip('.')}" for n in same]
            if len(set(told)) == len(told):
                short = [told[same.index(n)] if n in same else name for n, name in enumerate(short)]
                break
    return short


def _trailing_parts(layers: Sequence[str]) -> list[str]:
    if len(layers) == 1:
        return list(layers)
    parts = [layer.split(".") for layer in layers]
    names = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = next(
            n for n in range(1, len(own) + 1) if n == len(own) or all(o[-n:] != own[-n:] for o in others)
        )
        length += length < len(own) and own[-length].isdecimal()
        names.append(".".join(own[-length:]))
    return names


def group_names(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Runs of names that differ in their last number alone: what is before it, and the numbers.

    What is behind the number is told where groups differ in it; a name that stands alone is all in its list.
    """
    split = [name.split(".") for name in names]
    found: list[tuple[list[str], list[str], list[str]]] = []  # before, numbers, behind
    for parts in split:
        at = next((n for n in range(len(parts) - 1, -1, -1) if parts[n].isdecimal()), None)
        before, number, behind = (parts, "", []) if at is None else (parts[:at], parts[at], parts[at + 1 :])
        if found and number and (found[-1][0], found[-1][2]) == (before, behind) and found[-1][1] != [""]:
            found[-1][1].append(number)
        else:
            found.append((before, [number], behind))
    tails = {tuple(behind) for _, numbers, behind in found if len(numbers) > 1}
    groups = []
    for before, numbers, behind in found:
        head = ".".join(before)
        if len(numbers) == 1:
            groups.append(("", [".".join([*before, *filter(None, numbers), *behind])]))
        else:
            groups.append((head + (f" {'.'.join(behind)}" if len(tails) > 1 and behind else ""), numbers))
    return groups


def list_names(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names, for a note."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
