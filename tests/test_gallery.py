"""docs/gallery.md shows every view, as it is drawn now."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from icnn_viz.displays import HEATMAP_VIEWS, LAYER_VIEWS, NETWORK_VIEWS
from icnn_viz.displays.kernels import RUN_VIEWS

_DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", _DOCS / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_view_is_in_the_gallery_with_its_command(script: ModuleType) -> None:
    shown = {one.view for one in script.read_page()[1]}
    assert {*LAYER_VIEWS, *NETWORK_VIEWS, *RUN_VIEWS, *HEATMAP_VIEWS} <= shown
    _, *sections = (_DOCS / "gallery.md").read_text(encoding="utf-8").split("\n### ")
    for section in sections:
        assert re.search(r"```bash\nicnn-viz (kernels|heatmap|taps) ", section), section
        assert "-dark.png#only-dark)" in section


def test_no_picture_of_the_gallery_is_stale(script: ModuleType) -> None:
    assert [path.name for path in script.stale()] == [], "run: python docs/write_images.py"


def test_a_picture_of_other_code_or_files_is_stale(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared, page = script.read_page()
    before = script.mark(shared, page[0])
    assert script.mark(shared + "#", page[0]) != before
    assert script.mark(shared, page[1]) != before
    (tmp_path / "style.py").write_text("LOOK = 1")
    with monkeypatch.context() as other:
        other.setattr(script, "FIGURES", tmp_path)  # figures are drawn otherwise
        assert script.mark(shared, page[0]) != before
    (tmp_path / "sample.png").write_bytes(b"other")
    monkeypatch.setattr(script, "builtin_path", lambda name: tmp_path / name)
    assert script.mark(shared, page[0]) != before


def test_the_film_is_small() -> None:
    assert (_DOCS / "images" / "growing.gif").stat().st_size < 1_000_000
