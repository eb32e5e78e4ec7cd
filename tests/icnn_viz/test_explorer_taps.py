"""The explorer's page of taps, and the report's panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icnn_core.errors import IcnnError
from icnn_viz.data import builtin_path
from icnn_viz.displays.images import read_image
from icnn_viz.displays.pixels import compare_pixels, load_networks, make_targets
from icnn_viz.displays.taps import taps_of
from icnn_viz.records import PositionCloud

pytest.importorskip("dash", reason="Dash is not installed")

from icnn_viz.explorer.pages import taps
from icnn_viz.explorer.server import make_app
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.shelf import make_shelf

PAIR = [builtin_path(f"shapes-{kind}.safetensors") for kind in ("irregular", "regular")]


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(load_networks(*PAIR, device="cpu"), make_shelf((), None, "", 2048))


def test_a_page_shows_taps_of_the_pixel_in_its_link(session: Session) -> None:
    client = make_app(session).server.test_client()
    assert "'/taps'" in str(client.get("/_dash-layout", base_url="http://127.0.0.1:8050").json)
    layout = str(taps.layout(session, "?x=74&y=45"))
    assert "value=74" in layout
    assert "value=45" in layout
    assert "value=80" in str(taps.layout(session, "?x=990&y=-3"))  # the middle


def test_the_same_image_is_seen_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session.taps("0", (45, 74))
    monkeypatch.setattr("icnn_viz.explorer.session.watch_all", lambda *_: pytest.fail("looked again"))
    second = session.taps("0", (50, 60))
    assert first.pixel == (45, 74)
    moved = second.rows[0][0].at - first.rows[0][0].at
    assert np.allclose(moved[: len(moved) // 2], (5, -14))
    with pytest.raises(IcnnError, match="--pixel"):
        session.taps("0", (500, 60))


def test_positions_alone_have_no_taps() -> None:
    empty = Session([], make_shelf((), None, "", 2048))
    assert not empty.has_taps
    assert "need a network" in str(taps.layout(empty, ""))


def test_a_compared_pixel_has_its_taps_for_its_class(session: Session) -> None:
    networks = load_networks(*PAIR, device="cpu")
    image = read_image(builtin_path("sample.png"), None)
    [look] = compare_pixels(networks, image, make_targets([(45, 74)], image, networks[0].classes, "ring"))
    display = taps_of(networks, look)
    assert display is not None
    assert display.class_name == "ring"
    assert len(display.rows) == 3
    assert Path(display.rows[0][1].layers[0]).name == "classifier.fc1"


def test_positions_alone_are_shown_without_pages_that_need_a_network(
    make_cloud: Callable[..., PositionCloud],
) -> None:
    alone = Session([], make_shelf((), None, "", 2048), [make_cloud("their", channels=4)])
    client = make_app(alone).server.test_client()
    links = str(client.get("/_dash-layout", base_url="http://127.0.0.1:8050").json)
    assert "'/kernels'" in links
    assert "Heatmaps" not in links
    ask = {
        "output": "page.children",
        "outputs": {"id": "page", "property": "children"},
        "inputs": [{"id": "url", "property": "pathname", "value": "/"}],
        "state": [{"id": "url", "property": "search", "value": ""}],
        "changedPropIds": ["url.pathname"],
    }
    answer = client.post("/_dash-update-component", json=ask, base_url="http://127.0.0.1:8050")
    assert "'pathname': '/kernels'" in str(answer.json), "the first page is one that shows something"
