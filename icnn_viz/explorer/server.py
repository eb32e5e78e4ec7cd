"""The Dash application: frame, navigation, theme, guards; and the server that runs it."""

from __future__ import annotations

import logging
import socket
import sys
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dash import Dash, Input, Output, State, dcc, html
from flask import request
from werkzeug.serving import BaseWSGIServer, make_server

from icnn_core.errors import DataError
from icnn_core.files import explain
from icnn_viz.explorer.guards import answer_malformed, guard, is_loopback
from icnn_viz.explorer.pages import heatmaps, kernels, runs, taps
from icnn_viz.explorer.pages.parts import client
from icnn_viz.explorer.session import Session

PAGES: dict[str, Any] = {page.PATH: page for page in (heatmaps, kernels, taps, runs)}
"""Page modules by path; each has TITLE, NAV (its link's id), `layout` and `register`.

No link leads to `runs` without snapshots, nor to `heatmaps` and `taps` without networks.
"""

_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<meta name="viewport" content="width=device-width, initial-scale=1"><title>{%title%}</title>
<link rel="icon" href="data:,">{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


class _Explorer(Dash):
    """Its first page shows the image at once, before any script has run."""

    def __init__(self, session: Session, *args: Any, **options: Any) -> None:
        self._session = session
        super().__init__(*args, **options)

    def interpolate_index(self, *args: Any, **parts: Any) -> str:
        if request.path == heatmaps.PATH and self._session.networks:
            parts["app_entry"] += heatmaps.first_paint(self._session, request.query_string.decode())
        return super().interpolate_index(*args, **parts)


def make_app(session: Session, *, host: str = "127.0.0.1") -> Dash:
    """The application over a session, guarded for the address it will be bound to. No debug mode, nothing remote."""
    app = _Explorer(
        session,
        __name__,
        assets_folder=str(Path(__file__).parent / "assets"),
        title="icnn explorer",
        update_title="",
        suppress_callback_exceptions=True,
        index_string=_INDEX,
    )
    guard(app.server, host)
    answer_malformed(app.server)
    there = {heatmaps: bool(session.networks), runs: session.has_run, taps: session.has_taps}
    shown = {path: page for path, page in PAGES.items() if there.get(page, True)}
    first = next(iter(shown))
    app.layout = _layout(shown)
    for page in PAGES.values():
        page.register(app, session)

    @app.callback(Output("page", "children"), Input("url", "pathname"), State("url", "search"))
    def show(path: str | None, search: str | None) -> Any:
        page = PAGES.get(path or "/")
        if page is None:
            link = dcc.Link(shown[first].TITLE, href=first)
            return html.P(["There is no such page. ", link], className="note")
        if page is heatmaps and first != heatmaps.PATH:
            return dcc.Location(id="to-first", pathname=first, refresh=False)
        return page.layout(session, search)

    _register_frame(app, shown)
    return app


def bind(app: Dash, host: str, port: int) -> BaseWSGIServer:
    """A server that listens already, one thread a request; `serve_forever` runs it. Port 0 chooses a free one.

    Raises:
        DataError: the address cannot be bound.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        needed = "an address of this machine and a free port"
        fix = "Choose another port: --port 0 takes a free one."
        raise DataError(f"explore on {host}:{port}", needed=needed, got=explain(error)[0], fix=fix) from error
    with listening:  # the server duplicates the handle
        return make_server(host, port, app.server, threaded=True, fd=listening.fileno())


def serve(session: Session, host: str, port: int, *, browser: bool, say: Callable[[str], object]) -> None:
    """Serve until Ctrl-C; `say` prints for people, `browser` opens the page.

    Raises:
        DataError: the address cannot be bound.
    """
    server = bind(make_app(session, host=host), host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{server.port}/"
    if not is_loopback(host):
        text = "whoever reaches this address can look at these networks and images, and drop in their own."
        print(f"icnn-viz: warning: {text}", file=sys.stderr)
    say(f"Explorer at {address} · Ctrl-C ends it.")
    sys.stdout.flush()
    if browser:
        webbrowser.open(address)
    try:
        server.serve_forever()  # returns at Ctrl-C: werkzeug catches it
    finally:
        server.server_close()
    say("Ended.")


def _layout(pages: Mapping[str, Any]) -> Any:
    links = [
        dcc.Link(page.TITLE, href=path, id=page.NAV, className="page-link") for path, page in pages.items()
    ]
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="theme"),
            html.Header(
                [
                    html.H1("icnn explorer"),
                    html.Nav(links, **{"aria-label": "Pages"}),  # type: ignore[arg-type]
                    html.Button("Theme", id="toggle", type="button", title="Light or dark"),
                ]
            ),
            html.Main(id="page"),
        ]
    )


def _register_frame(app: Dash, pages: Mapping[str, Any]) -> None:
    app.clientside_callback(
        client("theme"), Output("theme", "data"), Output("toggle", "children"), Input("toggle", "n_clicks")
    )
    for page in pages.values():
        app.clientside_callback(
            client("address"),
            Output(page.NAV, "className"),
            Input(page.NAV, "href"),
            Input("url", "pathname"),
        )
