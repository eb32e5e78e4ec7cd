"""The frozen page: its grid, its maps, and that nothing in a name becomes HTML."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from icnn_core.errors import ArgumentError
from icnn_viz.displays.pixels import Question
from icnn_viz.explorer import export
from icnn_viz.explorer.export import freeze, grid_of, write_page
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.shelf import Shelf, Source

MakeSession = Callable[..., Session]


def content_of(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', path.read_text(), re.S)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(24, 37, 12), (120, 160, 600), (7, 300, 20), (300, 7, 20), (5, 6, 99), (9, 9, 1)],
)
def test_a_grid_is_even_and_no_larger_than_allowed(height: int, width: int, count: int) -> None:
    pixels, rows, columns = grid_of(height, width, count)
    assert len(set(pixels)) == len(pixels) == rows * columns <= count
    assert rows * columns > count / 4 or rows * columns == height * width
    ys, xs = zip(*pixels, strict=True)
    assert min(ys) >= 0
    assert max(ys) < height
    assert max(xs) < width
    for values, size, parts in ((ys, height, rows), (xs, width, columns)):
        assert set(np.diff(sorted(set(values)))) <= {size // parts, size // parts + 1}


def test_frozen_maps_are_the_heatmaps_to_a_step(make_session: MakeSession) -> None:
    session = make_session()
    answer = session.answer(Question("0", (9, 20)))
    frozen, block = freeze(answer)
    assert block == 1
    for text, heatmap in zip(frozen["maps"], answer.heatmaps, strict=True):
        bytes_ = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(24, 37)
        there = frozen["top"] * (bytes_ / export.LEVELS) ** 2
        clipped = np.minimum(heatmap.values, frozen["top"])
        np.testing.assert_allclose(there, clipped, atol=frozen["top"] / export.LEVELS)
    first, second = (heatmap.values for heatmap in answer.heatmaps[:2])
    axes, raw = frozen["axes"], np.abs(first - second)
    assert np.quantile(raw, 0.999) <= axes["raw"]["cmax"] <= 1.3 * raw.max()
    assert axes["raw"]["cmax"] != axes["shares"]["cmax"]
    assert axes["maps"]["cmax"] == frozen["top"]
    assert "logit" in axes["raw"]["colorbar"]["title"]["text"]


def test_a_page_holds_the_grid_and_stays_under_its_limit(make_session: MakeSession, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    session = make_session()
    page = write_page(session, tmp_path / "page.html", lambda *at: told.append(at), most_pixels=12)
    content = content_of(page.path)
    assert page.rows * page.columns == len(content["pixels"]) == 12
    assert told[-1] == (12, 12)
    assert page.bytes == page.path.stat().st_size
    assert "4 × 3 pixels" in page.describe()
    bare = page.bytes - sum(len(json.dumps(pixel)) for pixel in content["pixels"])
    small = write_page(session, tmp_path / "small.html", most_bytes=bare + 60_000)
    assert small.path.stat().st_size < bare + 60_000
    assert 1 < small.rows * small.columns < 24 * 37
    with pytest.raises(ArgumentError, match="room for one pixel"):
        write_page(session, tmp_path / "none.html", most_bytes=10_000)


def test_a_page_stays_under_its_limit_when_its_probes_packed_better_than_the_rest(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def packs_well_at_first(answer: Any) -> tuple[dict[str, Any], int]:
        found, block = freeze(answer)
        calls.append(found)
        return found | {"maps": ["A" * (4 if len(calls) <= export._PROBES else 8000)] * 2}, block

    room = write_page(make_session(), tmp_path / "one.html", most_pixels=1).bytes + 90_000
    monkeypatch.setattr(export, "freeze", packs_well_at_first)
    page = write_page(make_session(), tmp_path / "page.html", most_bytes=room)
    assert page.path.stat().st_size <= room
    assert page.rows * page.columns == len(content_of(page.path)["pixels"]) > 1


def test_names_stay_text_and_nothing_comes_from_outside(make_session: MakeSession, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    session = make_session()
    picture = session.shelf.get("0")
    session.shelf = Shelf([Source(evil, lambda: (picture.image, None))], 99)
    for network in session.networks:
        network.name = evil
        network.classes = (evil,) * 3
    session.classes = session.networks[0].classes
    path = write_page(session, tmp_path / "page.html", most_pixels=2).path
    text = path.read_text()
    assert evil not in text
    own = text.replace(get_plotlyjs(), "")
    assert own.count("<script") == own.count("</script>") == 3
    assert content_of(path)["models"] == [evil, evil]
    assert not re.findall(r"https?://[^\"' )]+", own)
    assert "default-src 'none'" in own  # nothing is fetched


def test_a_long_image_is_shrunk_and_the_page_says_so(make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session()
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    session.shelf = Shelf([Source("street", lambda: (image, None))], 999)
    page = write_page(session, tmp_path / "page.html", most_pixels=2)
    assert page.block == 2
    assert "at 1/2 of its size" in page.describe()
    assert "the largest value of each block of 2 × 2 pixels" in page.path.read_text()
    assert replace(page, block=1).describe().endswith("at full size.")
