"""The only place that saves a figure: whole or not at all, and the same bytes for the same figure."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from icnn_core import files
from icnn_core.errors import ArgumentError, DataError
from icnn_core.text import to_visible
from icnn_viz.figures.screen import to_policy
from icnn_viz.figures.style import DPI, PLAIN_TEXT

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from PIL import Image

    from icnn_viz.figures.letters import Canvas

_log = logging.getLogger(__name__)
_NO_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_KINDS = ("png", *_NO_DATE)
_COMPRESSION = 3  # of 9: half of the time that 6 takes, for some percent of size
_PLOTLY_CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}  # data stay here


def write_figure(figure: Figure | go.Figure, path: str | Path, *, dpi: int = DPI) -> Path:
    """Save a matplotlib figure (.png, .svg, .pdf) or a plotly figure (.html, plotly.js inside: works offline).

    Raises:
        ArgumentError: the suffix does not fit the kind of figure.
        DataError: the folder cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    wanted = ("html",) if hasattr(figure, "to_html") else _KINDS
    if kind not in wanted:
        needed = f"a path that ends in .{' or .'.join(wanted)}"
        fix = "plotly figures are written as HTML, matplotlib figures as PNG, SVG or PDF."
        raise ArgumentError("write_figure", needed=needed, got=path.name, fix=fix)
    if kind == "html":
        text = _to_html(figure)  # type: ignore[arg-type]
        return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return write_atomically(path, lambda temporary: _save(figure, temporary, kind, dpi))  # type: ignore[arg-type]


def write_film(frames: Iterable[Figure], path: str | Path, *, pace: float = 8.0, dpi: int = 150) -> Path:
    """Save matplotlib figures of one size as a film: .gif, or .mp4 where ffmpeg is installed.

    Args:
        pace: frames a second.

    Raises:
        ArgumentError: another suffix, no frames, or no ffmpeg for .mp4.
        DataError: the folder cannot be written, or ffmpeg fails.
    """
    path = Path(path)
    kind = path.suffix.lower()
    needs = {".gif": True, ".mp4": shutil.which("ffmpeg") is not None}
    if not needs.get(kind, False):
        needed = "a path that ends in .gif, or .mp4 and ffmpeg installed"
        raise ArgumentError("write_film", needed=needed, got=path.name, fix="Write a .gif.")
    images = [_to_even(to_image(figure, dpi)) for figure in frames]
    if not images:
        raise ArgumentError("write_film", needed="frames", got="none", fix="Give at least one figure.")
    write = _write_gif if kind == ".gif" else _write_mp4
    return write_atomically(path, lambda temporary: write(images, temporary, pace))


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path in the same folder (made if missing), then rename it to `path`.

    Raises:
        DataError: the folder or file cannot be written.
    """
    return files.write_atomically(path, lambda temporary: write(Path(temporary)), DataError)


def _save(figure: Figure, path: Path, kind: str, dpi: int) -> None:
    if kind == "png":
        to_image(figure, dpi).save(path, "png", compress_level=_COMPRESSION, dpi=(dpi, dpi))
    else:
        save_lines(figure, path, kind, dpi)


def save_lines(figure: Figure, to: Path | IO[bytes], kind: str = "svg", dpi: int = DPI) -> None:
    """Write a figure as lines: svg or pdf."""
    with _in_plain_text(figure):
        figure.savefig(to, format=kind, dpi=dpi, metadata=_NO_DATE[kind], facecolor=figure.get_facecolor())


_told: set[str] = set()


@contextmanager
def _in_plain_text(figure: Figure) -> Iterator[None]:
    """Text is drawn as it is written, also of ticks, which are made only now; letters that no font has are told, each
    once."""
    import matplotlib as mpl

    _show_controls(figure)
    with (
        mpl.rc_context({"svg.hashsalt": "icnn", **PLAIN_TEXT}),
        warnings.catch_warnings(record=True) as caught,
    ):
        yield
    glyphs = [re.match(r"Glyph (\d+) .* missing from font", str(one.message)) for one in caught]
    for one, glyph in zip(caught, glyphs, strict=True):
        if glyph is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    missing = dict.fromkeys(chr(int(glyph[1])) for glyph in glyphs if glyph is not None)
    new = [letter for letter in missing if letter not in _told]
    if new:
        _told.update(new)
        _log.warning(
            "no font that is installed has %s: boxes stand for them. Install one that does, e.g. a Noto Sans.",
            " ".join(new),
        )


def _show_controls(figure: Figure) -> None:
    """Control characters in names become escapes: no font has them, and an SVG with them is no XML."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(to_visible(text.get_text()))


def to_image(figure: Figure, dpi: int) -> Image.Image:
    """The figure as an RGB image."""
    from icnn_viz.figures.letters import Canvas

    return _to_rgb(_draw(Canvas(figure), dpi))


def to_twins(figure: Figure, dpi: int) -> tuple[Image.Image, Image.Image]:
    """A light figure that `themes.is_exchangeable`, and the same in the dark theme, as RGB images."""
    from icnn_viz.figures.themes import TwinCanvas

    canvas = TwinCanvas(figure)
    return _to_rgb(_draw(canvas, dpi)), _to_rgb(canvas.dark)


def _draw(canvas: Canvas, dpi: int) -> RendererAgg:
    canvas.figure.set_dpi(dpi)
    with _in_plain_text(canvas.figure):
        canvas.draw()
    return canvas.get_renderer()


def _to_rgb(renderer: RendererAgg) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.asarray(renderer.buffer_rgba())).convert("RGB")


def _to_even(image: Image.Image) -> Image.Image:
    """With even sides, as video codecs want them."""
    return image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))


def _write_gif(images: list[Image.Image], path: Path, pace: float) -> None:
    small = [image.quantize(128) for image in images]
    waits = [round(1000 / pace)] * (len(small) - 1) + [2000]  # rest on the last frame
    small[0].save(path, save_all=True, append_images=small[1:], duration=waits, loop=0)


def _write_mp4(images: list[Image.Image], path: Path, pace: float) -> None:
    size = f"{images[0].width}x{images[0].height}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(pace), "-i", "-"]
    command = ["ffmpeg", "-y", "-loglevel", "error", *source, "-pix_fmt", "yuv420p", str(path)]
    run = subprocess.run(command, input=b"".join(image.tobytes() for image in images), capture_output=True)
    if run.returncode:
        raise OSError(" ".join(run.stderr.decode(errors="replace").split())[-300:])


def _to_html(figure: go.Figure) -> str:
    title = figure.layout.title.text or "icnn"  # type: ignore[attr-defined]
    traces: tuple[Any, ...] = figure.data  # type: ignore[assignment]
    in_space = any(trace.type == "scatter3d" for trace in traces)
    script = (Path(__file__).parent / "depth.js").read_text(encoding="utf-8") if in_space else None
    page = figure.to_html(
        include_plotlyjs=True,
        post_script=script,
        auto_play=False,
        full_html=True,
        config=_PLOTLY_CONFIG,
        div_id="figure",
        default_height="100vh",
    )
    layout: Any = figure.layout
    menus = "".join(_to_menu_style(menu.bgcolor, layout.font.color) for menu in layout.updatemenus[:1])
    policy = to_policy(re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL))
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
    head = (
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{re.sub('<[^>]+>', ' ', title).strip()}</title>"
        f"<style>html, body {{ margin: 0; height: 100%; background: {layout.paper_bgcolor}; }}{menus}</style></head>"
    )
    page = page.replace("</head>", head, 1)
    return page.replace('<meta charset="utf-8" />', f'<meta charset="utf-8" />{meta}', 1)


def _to_menu_style(ground: str, text: str) -> str:
    """Marks chosen and touched items by a frame: plotly would fill them with white, whatever the text's colour."""
    item = ".updatemenu-item-rect"
    return f" {item} {{ fill: {ground} !important; }} g:hover > {item} {{ stroke: {text} !important; }}"
