"""Reads gallery.md: the views that it shows, the code that draws them, and what each picture was drawn from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from icnn_viz.data import builtin_path
from icnn_viz.figures import style
from icnn_viz.figures.style import THEMES

DOCS = Path(__file__).parent
FIGURES = Path(style.__file__).parent
_KEY = "drawn from"
_BLOCK = re.compile(r"```python\n(.*?)```", re.S)


@dataclass(frozen=True)
class Shown:
    """A view on the page: what it is called, the picture's file without suffix, and the code that draws it."""

    view: str
    picture: str
    code: str

    def path(self, theme: str) -> Path:
        """The picture's file."""
        return DOCS / "images" / f"{self.picture}{'' if theme == 'light' else f'-{theme}'}.png"


def read_page() -> tuple[str, list[Shown]]:
    """The code that all views share, and the views, in order."""
    start, *sections = (DOCS / "gallery.md").read_text(encoding="utf-8").split("\n### ")
    [shared] = _BLOCK.findall(start)
    found = []
    for section in sections:
        [code], picture = _BLOCK.findall(section), re.search(r"\(images/(\S+)\.png#only-light\)", section)
        assert picture is not None
        found.append(Shown(section.splitlines()[0].strip("`"), picture[1], code))
    return shared, found


def list_gallery() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Pictures by name, and what draws each in a theme: the page's own code, run when the first is drawn."""
    shared, page = read_page()
    known: dict[str, Any] = {}
    for shown in page:
        yield shown.picture, partial(_draw, shared, shown.code, known)


def mark(shared: str, shown: Shown) -> str:
    """What a picture is drawn from, as a digest: the code of the page and of figures, and the files that the package
    ships."""
    folder = builtin_path("sample.png").parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".safetensors"))
    digest = hashlib.sha256((shared + shown.code).encode())
    for path in files:
        digest.update(path.read_bytes())
    for path in sorted(FIGURES.glob("*.py")):
        digest.update(path.read_text(encoding="utf-8").encode())
    return digest.hexdigest()[:16]


def write_marks(names: set[str]) -> None:
    """Let the pictures of these names know what they were drawn from."""
    shared, page = read_page()
    for shown in page:
        for path in (shown.path(theme) for theme in THEMES if shown.picture in names):
            told = PngInfo()
            told.add_text(_KEY, mark(shared, shown))
            with Image.open(path) as image:
                image.load()
            image.save(path, optimize=True, pnginfo=told)


def stale() -> list[Path]:
    """Pictures that are missing, or drawn from other code or files."""
    shared, page = read_page()
    wanted = {shown.path(theme): mark(shared, shown) for shown in page for theme in THEMES}
    return [path for path, drawn_from in wanted.items() if _read_mark(path) != drawn_from]


def _draw(shared: str, code: str, known: dict[str, Any], theme: str) -> Any:
    if not known:
        exec(shared, known)
    call = code.rstrip().removesuffix(")")
    exec(f"drawn = {call}{'' if call.endswith('(') else ', '}theme={theme!r})", known)
    return known["drawn"].figure_


def _read_mark(path: Path) -> str:
    if not path.is_file():
        return ""
    with Image.open(path) as image:
        return str(image.info.get(_KEY, ""))
