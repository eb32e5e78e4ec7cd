"""The explorer's server: who may talk to it, what can be read through it, what its pages say. No browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dash import Dash
from dash.exceptions import PreventUpdate
from flask.testing import FlaskClient

from icnn_core.errors import DataError
from icnn_viz.displays.pixels import Question
from icnn_viz.explorer.guards import allowed_names, host_name, is_loopback
from icnn_viz.explorer.pages import answers, heatmaps, kernels, points, runs
from icnn_viz.explorer.server import make_app
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.shelf import Shelf, Source
from icnn_viz.records import PositionCloud

MakeSession = Callable[..., Session]
HOST = "127.0.0.1:8050"


@pytest.fixture
def session(make_session: MakeSession, make_cloud: Callable[..., PositionCloud]) -> Session:
    made = make_session()
    made.clouds[:] = [
        make_cloud("first", channels=6),
        make_cloud("<b>last</b>", channels=8, sharing="none", kernels=3),
    ]
    return made


@pytest.fixture
def client(session: Session) -> FlaskClient:
    return make_app(session).server.test_client()


def get(client: FlaskClient, path: str, host: str = HOST, **headers: str) -> Any:
    return client.get(path, headers={"Host": host, **headers})


# guards


@pytest.mark.parametrize("host", ["127.0.0.1", HOST, "localhost:9000", "LOCALHOST", "[::1]:8050"])
def test_this_machine_is_let_in(client: FlaskClient, host: str) -> None:
    assert get(client, "/", host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8050",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.168.1.5",
        ),
        *("user@127.0.0.1", "127.0.0.1/x", "127.0.0.1:port", "[::1", "", " ", "0.0.0.0:8050"),
    ],
)
def test_a_foreign_host_is_refused(client: FlaskClient, host: str) -> None:
    for path in ("/", "/_dash-layout", "/assets/explorer.js"):
        assert get(client, path, host).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:8050",
        "http://127.0.0.1:3000",
        "https://127.0.0.1:8050",
    ],
)
def test_a_foreign_origin_is_refused(client: FlaskClient, origin: str) -> None:
    headers = {"Host": HOST, "Origin": origin}
    assert client.post("/_dash-update-component", json={}, headers=headers).status_code == 403
    assert get(client, "/_dash-layout", Origin=origin).status_code == 403


def test_its_own_pages_are_let_in(client: FlaskClient) -> None:
    assert get(client, "/_dash-layout", Origin=f"http://{HOST}").status_code == 200


def test_a_wider_address_takes_its_names_and_numbers_but_no_other_name(session: Session) -> None:
    client = make_app(session, host="0.0.0.0").server.test_client()
    assert get(client, "/", "192.168.1.5:8050").status_code == 200
    assert get(client, "/", HOST).status_code == 200
    assert get(client, "/", "evil.example:8050").status_code == 403
    assert "workstation.lan" in allowed_names("workstation.lan")


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "workstation.lan", "")))
    assert host_name("LocalHost:80") == "localhost"


def test_answers_forbid_framing_and_foreign_content(client: FlaskClient) -> None:
    headers = get(client, "/").headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]


def test_nothing_is_loaded_from_elsewhere_and_no_debug_tools(client: FlaskClient) -> None:
    page = get(client, "/").get_data(as_text=True)
    assert "https://" not in page
    assert "http://" not in page
    assert '"ui":false' in page.replace(" ", "")
    assert get(client, "/_reload-hash").get_json().get("reloadHash") is None


def test_a_large_body_is_refused(client: FlaskClient) -> None:
    headers = {"Host": HOST, "Content-Type": "application/json"}
    body = b"x" * (21 * 2**20)
    assert client.post("/_dash-update-component", data=body, headers=headers).status_code == 413


# paths


_ROOTS = ("/assets/", "/_dash-component-suites/dash/", "/_dash-component-suites/dash/dcc/", "/static/", "/")
_TRICKS = (
    "../../pyproject.toml",
    "../server.py",
    "..%2f..%2fserver.py",
    "..\\..\\server.py",
    "....//server.py",
)
_TRICKS += ("/etc/passwd", "%2fetc%2fpasswd")


@pytest.mark.parametrize("root", _ROOTS)
@pytest.mark.parametrize("path", _TRICKS)
def test_no_file_of_the_disk_is_given_out(client: FlaskClient, root: str, path: str) -> None:
    # No file: an error, or (for names that are no file at all) the frame of a page.
    text = get(client, root + path).get_data(as_text=True)
    assert "root:" not in text
    assert "[project]" not in text
    assert "from __future__" not in text


def test_an_image_is_a_key_never_a_path(session: Session, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"not for you")
    for name in (str(tmp_path / "secret.png"), "../../secret.png", "file:///etc/passwd", "%2e%2e/secret"):
        told = answers.reply(session, ask(1, image=name))
        assert "image" in told["error"]
        assert "not for you" not in json.dumps(told)
        assert "No such file" not in told["error"]


# what the pages say


def ask(number: int, **changes: Any) -> dict[str, Any]:
    asked = {"tab": "t", "number": number, "image": "0", "x": 20, "y": 9, "method": "gradient", "class": ""}
    return asked | {"smoothing": 0, "theme": "dark"} | changes


def components(component: Any) -> dict[str, Any]:
    """Every component with an id."""
    return {c.id: c for c in [component, *component._traverse()] if getattr(c, "id", None)}


def test_a_reply_holds_figure_table_and_words(session: Session) -> None:
    told = answers.reply(session, ask(7))
    assert told["number"] == 7
    assert told["figure"]["layout"]["paper_bgcolor"] == "#14161a"
    assert told["words"].startswith("irregular: half of its energy within ")  # what was found comes first
    assert "x = 20, y = 9" in told["words"]
    assert "networks" in told["took"]


def test_the_difference_is_of_shares_or_of_the_maps_as_they_are(session: Session) -> None:
    maps = session.answer(Question("0", (9, 20))).heatmaps[:2]
    wanted = {"raw": maps[0].values - maps[1].values, "shares": maps[0].shares - maps[1].shares}
    for asked, kind in (("raw", "raw"), ("shares", "shares"), (None, "shares"), ("<b>", "shares")):
        traces = answers.reply(session, ask(1, difference=asked))["figure"]["data"]
        *_, last = (trace["z"] for trace in traces if trace["type"] == "heatmap")
        values = np.frombuffer(base64.b64decode(last["bdata"]), last["dtype"]).reshape(24, 37)
        np.testing.assert_allclose(values, wanted[kind], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": 999}, "x in 0…36"),
        ({"x": None}, "whole numbers"),
        ({"y": "9; drop"}, "whole numbers"),
        ({"image": "77"}, "an image of this session"),
        ({"class": "nine"}, "whole numbers"),
    ],
)
def test_what_is_wrong_is_said(session: Session, changes: dict[str, Any], words: str) -> None:
    assert words in answers.reply(session, ask(1, **changes))["error"]


def test_an_unreadable_image_is_told_without_its_path(session: Session) -> None:
    def read() -> Any:
        raise DataError("/secret/a.jpg", needed="an image", got="something else", fix="Take another.")

    session.shelf = Shelf([Source("a.jpg", read)], 100)
    shown = json.dumps(heatmaps.layout(session, "").to_plotly_json(), default=str)
    for text in (shown, answers.reply(session, ask(1))["error"]):
        assert "needs an image; got something else. Take another." in text
        assert "secret" not in text


def test_an_overtaken_question_gets_no_answer(session: Session) -> None:
    answers.reply(session, ask(5))
    with pytest.raises(PreventUpdate):
        answers.reply(session, ask(4, x=3))


def test_a_url_restores_the_page(session: Session) -> None:
    page = components(
        heatmaps.layout(session, "?image=1&x=33&y=12&method=guided&class=1&smoothing=1.5&opacity=60")
    )
    values = {id: page[id].value for id in ("image", "x", "y", "method", "class", "smoothing", "opacity")}
    expected = {
        "image": "1",
        "x": 33,
        "y": 12,
        "method": "guided",
        "class": "1",
        "smoothing": 1.5,
        "opacity": 60,
    }
    assert values == expected
    assert (page["x"].max, page["y"].max) == (36, 23)


def test_a_url_with_nonsense_gives_the_middle_of_the_first_image(session: Session) -> None:
    page = components(heatmaps.layout(session, "?image=/etc/passwd&x=99&y=2&method=<script>"))
    assert [page[id].value for id in ("image", "x", "y", "method")] == ["0", 18, 12, "gradient"]


def test_a_link_to_an_image_that_was_dropped_in_elsewhere_says_so(session: Session) -> None:
    page = components(heatmaps.layout(session, "?image=u0123&x=3&y=2"))
    assert "drop it in again" in page["upload-note"].children


def test_every_control_has_a_label(session: Session) -> None:
    for page in (heatmaps.layout(session, ""), kernels.layout(session, "")):
        found = components(page)
        labels = {c.htmlFor for c in page._traverse() if type(c).__name__ == "Label"}
        inputs = {id for id, c in found.items() if type(c).__name__ in ("Dropdown", "Input", "Slider")}
        assert inputs
        assert labels == inputs


def test_csv_holds_every_pixel_and_measure(session: Session) -> None:
    answer = session.answer(Question("1", (9, 20)))
    lines = answers.maps_csv(answer).splitlines()
    assert lines[0] == "y,x,irregular,regular,difference,difference_of_shares"
    assert len(lines) == 1 + 24 * 37
    values = [float(v) for v in lines[1 + 9 * 37 + 20].split(",")]
    assert values[:2] == [9, 20]
    np.testing.assert_allclose(values[2:4], [h.values[9, 20] for h in answer.heatmaps], rtol=1e-5)
    assert "energy_in_object" in answers.measures_csv(answer)


def test_the_kernel_page_comes_back_from_its_url(session: Session) -> None:
    page = components(
        kernels.layout(session, "?layer=1&slot=4&third_axis=weight&channel=5&kernel=2&brush=box:0,0,1,1")
    )
    assert [page[id].value for id in ("layer", "slot", "third_axis", "channel", "kernel")] == [
        "1",
        "4",
        "weight",
        5,
        2,
    ]
    assert page["brush"].data == "box:0,0,1,1"
    beyond = components(kernels.layout(session, "?layer=7&slot=40&channel=500&kernel=9"))
    assert [beyond[id].value for id in ("layer", "slot", "channel", "kernel")] == ["1", "all", 7, 2]


def test_a_click_on_a_point_finds_its_shape(session: Session) -> None:
    shared, own = session.clouds
    assert points.clicked_shape(shared, {"customdata": 5}, False, "channel") == (5, 0)
    assert points.clicked_shape(own, {"customdata": 17}, False, "channel") == (1, 2)  # 17 = 2 · 8 + 1
    assert points.clicked_shape(own, {"customdata": [2, 1], "z": 17}, True, "weight") == (1, 2)
    assert points.clicked_shape(shared, {"z": 3}, True, "channel") == (3, 0)
    for point in ({}, {"z": 0.2}, {"customdata": None}):
        with pytest.raises(PreventUpdate):
            points.clicked_shape(shared, point, True, "density")


def test_brushed_points_are_counted(session: Session) -> None:
    cloud = session.clouds[0]
    shown, words = points.to_table(cloud, "box:-9,-9,9,-1", None)
    assert words == f"{int((cloud.points[..., 0] < -1).sum())} of 54 points brushed"
    first = cloud.points[:, 0][cloud.points[:, 0, 0] < -1]  # slot 0, at y = -2
    assert f"−{-first[:, 0].mean():.3f}" in str(shown)


def test_a_link_leads_to_the_run_page_where_there_is_a_run(make_session: MakeSession) -> None:
    for read_run, own in ((None, []), (lambda: ([], []), [runs.PATH])):
        frame = get(make_app(make_session(read_run=read_run)).server.test_client(), "/_dash-layout").json
        header = frame["props"]["children"][2]["props"]["children"]
        links = [link["props"]["href"] for link in header[1]["props"]["children"]]
        assert links == [heatmaps.PATH, kernels.PATH, *own]


def test_the_run_page_says_how_to_get_snapshots(
    session: Session, make_session: MakeSession, make_cloud: Any
) -> None:
    assert "--snapshots" in components(runs.layout(session, ""))["how"].children
    states = [[make_cloud("a", seed=n), make_cloud("b", seed=n)] for n in range(3)]
    page = components(runs.layout(make_session(read_run=lambda: ([0, 5, 9], states)), "?layer=0"))
    assert page["run-layer"].value == "0"


def test_a_page_without_irregular_layers_says_so(make_session: MakeSession) -> None:
    page = kernels.layout(make_session(), "")
    assert "no irregular layer" in str(page)


def test_there_is_no_debug_mode(session: Session) -> None:
    app = make_app(session)
    assert isinstance(app, Dash)
    assert not app.server.debug
    assert not app._dev_tools.ui
