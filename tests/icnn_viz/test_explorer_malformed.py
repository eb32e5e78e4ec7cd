"""Whatever is sent to a callback: an answer or 400, and no traceback on the terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from icnn_viz.explorer.server import make_app
from icnn_viz.explorer.session import Session
from icnn_viz.records import PositionCloud

HOST = {"Host": "127.0.0.1:8050"}
ODD: list[Any] = [
    *(None, True, -1, 1.5, 10**400, float("nan"), float("inf"), "", "²", "9" * 5000, "\ud800", "../../x"),
    *([], [[]], {}, {"points": []}, {"points": [{"customdata": [9**99, "a"]}]}, {"range": {"x": None}}),
    *({"tab": [], "number": "x"}, {"tab": "t", "number": 10**400}, {"contents": 5, "name": {}}),
    {"tab": "t", "number": 1, "x": float("inf"), "y": 2, "image": "0", "method": "gradient"},
    {"tab": "t", "number": 2, "x": 1, "y": 2, "smoothing": float("nan"), "image": "0", "method": "gradient"},
    {"tab": "t", "number": 3, "x": 1, "y": 2, "class": "9" * 5000, "image": ["0"], "method": {}},
]


@pytest.fixture
def client(
    make_session: Callable[..., Session], make_cloud: Callable[..., PositionCloud]
) -> tuple[FlaskClient, list[dict[str, Any]]]:
    """A client, and the callbacks that the server answers."""
    clouds = [make_cloud("first", channels=6), make_cloud("last", channels=8, sharing="none", kernels=3)]
    session = make_session(read_run=lambda: ([0, 10], [clouds, clouds]))
    session.clouds[:] = clouds
    opened = make_app(session).server.test_client()
    known = json.loads(opened.get("/_dash-dependencies", headers=HOST).data)
    return opened, [one for one in known if one["clientside_function"] is None]


def send(client: FlaskClient, callback: dict[str, Any], values: list[Any]) -> Any:
    asked = [*callback["inputs"], *callback["state"]]
    filled = [{**one, "value": value} for one, value in zip(asked, values, strict=True)]
    output = callback["output"]
    names = output.strip(".").split("...")
    outputs = [
        dict(zip(("id", "property"), name.split("@")[0].rsplit(".", 1), strict=True)) for name in names
    ]
    count = len(callback["inputs"])
    first = filled[0]
    body = {
        "output": output,
        "outputs": outputs if output.startswith("..") else outputs[0],
        "inputs": filled[:count],
        "state": filled[count:],
        "changedPropIds": [f"{first['id']}.{first['property']}"],
    }
    return client.post(
        "/_dash-update-component", data=json.dumps(body), headers=HOST, content_type="application/json"
    )


def test_odd_values_in_every_place_of_every_callback(
    client: tuple[FlaskClient, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    opened, callbacks = client
    assert len(callbacks) > 12
    seen = set()
    for callback in callbacks:
        asked = [*callback["inputs"], *callback["state"]]
        usual = ["0" if one["id"] in ("layer", "run-layer", "image") else 1 for one in asked]
        for place in range(len(asked)):
            for odd in ODD:
                values = [*usual[:place], odd, *usual[place + 1 :]]
                status = send(opened, callback, values).status_code
                assert status in (200, 204, 400), (callback["output"], place, odd)
                seen.add(status)
    assert 400 in seen
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"5", b"{", b"{}", b'{"output": 5}', b'{"output": "nothing.x", "inputs": []}', b"\xff"],
)
def test_requests_that_are_none(
    client: tuple[FlaskClient, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    found = client[0].post(
        "/_dash-update-component", data=body, headers=HOST, content_type="application/json"
    )
    assert found.status_code == 400
    assert "Traceback" not in capfd.readouterr().err


def test_a_refusal_is_a_line_and_its_traceback_there_on_request(
    client: tuple[FlaskClient, list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    opened, callbacks = client
    asked = next(one for one in callbacks if one["output"].startswith("answer"))
    with caplog.at_level(logging.DEBUG, "icnn_viz"):
        assert send(opened, asked, [{"tab": "t", "number": "x"}]).status_code == 400
    first, second = caplog.records
    assert (first.levelname, first.exc_info) == ("WARNING", None)
    assert second.levelname == "DEBUG"
    assert second.exc_info is not None
