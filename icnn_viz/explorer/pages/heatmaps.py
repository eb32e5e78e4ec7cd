"""Page 1: click a pixel, see both heatmaps, their difference and measures."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from icnn_core.errors import IcnnError
from icnn_viz.displays.pixels import METHODS
from icnn_viz.explorer.pages.answers import maps_csv, measures_csv, reply, to_question
from icnn_viz.explorer.pages.parts import (
    GRAPH,
    button,
    choice,
    client,
    field,
    graph,
    number,
    save_png,
    tell,
    to_download,
)
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.shelf import KINDS, MOST_BYTES
from icnn_viz.explorer.states import MOST_SMOOTHING, HeatmapState
from icnn_viz.figures.screen import to_data_url

PATH, TITLE, NAV = "/", "Heatmaps", "nav-heatmaps"
_CONTROLS = ("image", "x", "y", "method", "class", "smoothing", "difference")
_DIFFERENCES = {"shares": "of shares of the energy", "raw": "of the maps as they are"}


def layout(session: Session, search: str | None) -> html.Div:
    """The page as a query describes it."""
    try:
        view, picture, note = _restore(session, search)
    except IcnnError as error:
        return html.Div(html.P(f"This image cannot be shown: {tell(error)}", role="alert"), className="page")
    height, width = picture.image.shape[:2]
    classes = {"": "predicted at the pixel"} | {str(n): name for n, name in enumerate(session.classes)}
    upload = dcc.Upload("Drop an image here or choose one", id="upload", className="upload")
    place = [number("x (column)", "x", view.x, 0, width - 1), number("y (row)", "y", view.y, 0, height - 1)]
    opacity = dcc.Slider(0, 100, 5, id="opacity", value=view.opacity, marks={0: "0", 50: "50", 100: "100"})
    saves = [
        button("PNG", "heat-png", "Save the figure as PNG"),
        button("Measures CSV", "measures-csv"),
        button("Maps CSV", "maps-csv", "Both maps and the difference, one row a pixel"),
    ]
    controls = [
        choice("Image", "image", session.shelf.names(), view.image),
        upload,
        html.P(note, id="upload-note", className="note", role="status"),
        html.Div(place, className="pair"),
        choice("Method", "method", _methods(), view.method),
        choice("Class", "class", classes, view.class_),
        number("Smoothing σ (pixels)", "smoothing", view.smoothing, 0, MOST_SMOOTHING, 0.5),
        choice("Difference", "difference", _DIFFERENCES, view.difference),
        field("Opacity (%)", "opacity", opacity),
        html.Div(saves, className="buttons", role="group", **{"aria-label": "Save"}),  # type: ignore[arg-type]
        html.P("Click a pixel, or move it with the arrow keys (10 pixels with Shift).", className="hint"),
        html.P("Drag to zoom; a double click shows the whole image again.", className="hint"),
    ]
    label = "Image, both heatmaps and their difference; in words under Measures"
    # Clicks and the whole image again: explorer.js. Plotly's button goes back to the size of the first image.
    removed = [*GRAPH["modeBarButtonsToRemove"], "resetScale2d"]
    figure = graph("heat", "icnn-heatmap", label, doubleClick=False, modeBarButtonsToRemove=removed)
    results = [
        html.H2("What it looks at"),
        html.P(id="words", **{"aria-live": "polite"}),  # type: ignore[arg-type]
        html.P(id="status", className="status", role="status"),
        html.Div(id="measures"),
        html.P(id="took", className="hint"),
    ]
    limit = {"bytes": MOST_BYTES, "kinds": ", ".join(KINDS)}
    stores = [dcc.Store(id=id) for id in ("clicked", "ask", "answer", "dropped")]
    stores += [dcc.Store(id="limit", data=limit), dcc.Download(id="heat-download")]
    # Until the networks are done:
    photo = html.Img(src=to_data_url(picture.image), alt=picture.name, className="photo")
    told: Any = {"aria-label": "Figure: arrow keys move the pixel"}
    panel = html.Div([photo, figure], id="panel", tabIndex=0, **told)
    sides = [html.Section(controls, className="controls"), panel, html.Section(results, className="results")]
    return html.Div([*sides, *stores], className="page heatmaps")


def first_paint(session: Session, query: str) -> str:
    """The image of a query where the page will show it, as HTML that needs no script; "" where it cannot be read."""
    try:
        _, picture, _ = _restore(session, f"?{query}")
    except IcnnError:
        return ""
    photo = f'<img class="photo" src="{to_data_url(picture.image)}" alt="{escape(picture.name)}">'
    return f'<div id="first" class="page heatmaps"><div class="hint">The page is loading.</div><div>{photo}</div></div>'


def register(app: Dash, session: Session) -> None:
    """The page's callbacks."""
    controls = [Input(id, "value") for id in _CONTROLS]
    app.clientside_callback(
        client("ask"),
        Output("ask", "data"),
        Output("status", "children"),
        Output("status", "className"),
        [*controls, Input("theme", "data")],
        State("opacity", "value"),
    )
    app.clientside_callback(
        client("show"),
        Output("heat", "figure"),
        Output("measures", "children"),
        Output("words", "children"),
        Output("status", "children", allow_duplicate=True),
        Output("status", "className", allow_duplicate=True),
        Output("took", "children"),
        Output("panel", "className"),
        Input("answer", "data"),
        State("opacity", "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        client("fade"),
        Output("heat", "figure", allow_duplicate=True),
        Input("opacity", "value"),
        State("heat", "figure"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        client("point"),
        Output("x", "value"),
        Output("y", "value"),
        Input("clicked", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        client("drop"),
        Output("dropped", "data"),
        Output("upload-note", "children"),
        Input("upload", "contents"),
        State("upload", "filename"),
        State("limit", "data"),
        prevent_initial_call=True,
    )
    save_png(app, "heat-png")
    _register_server(app, session)


def _register_server(app: Dash, session: Session) -> None:
    @app.callback(Output("answer", "data"), Input("ask", "data"), prevent_initial_call=True)
    def answer(ask: dict[str, Any] | None) -> Any:
        return reply(session, ask)

    @app.callback(Output(NAV, "href"), [Input(id, "value") for id in _CONTROLS], Input("opacity", "value"))
    def write(image: str, x: Any, y: Any, method: str, class_: str, smoothing: Any, *looks: Any) -> Any:
        if None in (x, y, smoothing):
            return no_update
        return PATH + HeatmapState(image, x, y, method, class_, float(smoothing), *looks).to_query()

    @app.callback(
        Output("x", "max"),
        Output("y", "max"),
        Output("x", "value", allow_duplicate=True),
        Output("y", "value", allow_duplicate=True),
        Input("image", "value"),
        State("x", "value"),
        State("y", "value"),
        prevent_initial_call=True,
    )
    def turn_to(key: str, x: Any, y: Any) -> Any:
        height, width = session.shelf.get(key).image.shape[:2]
        inside = x is not None and y is not None and x < width and y < height
        return width - 1, height - 1, x if inside else width // 2, y if inside else height // 2

    @app.callback(
        Output("image", "options"),
        Output("image", "value"),
        Output("upload-note", "children", allow_duplicate=True),
        Input("dropped", "data"),
        prevent_initial_call=True,
    )
    def drop(dropped: dict[str, Any] | None) -> Any:
        if not dropped:
            raise PreventUpdate
        try:
            picture = session.shelf.drop(str(dropped.get("contents")), str(dropped.get("name")))
        except IcnnError as error:
            return no_update, no_update, str(error)
        listed = [{"label": shown, "value": key} for key, shown in session.shelf.names().items()]
        return listed, picture.key, ""

    @app.callback(
        Output("heat-download", "data"),
        Input("measures-csv", "n_clicks"),
        Input("maps-csv", "n_clicks"),
        State("ask", "data"),
        prevent_initial_call=True,
    )
    def save(measures: int | None, maps: int | None, ask: dict[str, Any] | None) -> Any:
        if not ask or not (measures or maps):
            raise PreventUpdate
        found = session.answer(to_question(ask))
        y, x = found.pixel
        kind = "maps" if ctx.triggered_id == "maps-csv" else "measures"
        text = maps_csv(found) if kind == "maps" else measures_csv(found)
        return to_download(text, f"{kind}-x{x}-y{y}")


def _restore(session: Session, search: str | None) -> tuple[HeatmapState, Any, str]:
    """The view of a query, its image, and what a reader must be told."""
    keys = session.shelf.names()
    classes = [str(n) for n in range(len(session.classes))]
    allowed = {"image": keys, "method": _methods(), "class": classes, "difference": _DIFFERENCES}
    view = HeatmapState.from_query(search, HeatmapState(image=next(iter(keys)), x=-1, y=-1), allowed)
    picture = session.shelf.get(view.image)
    height, width = picture.image.shape[:2]
    lost = "image=u" in (search or "") and not view.image.startswith("u")
    note = "The image of this link was dropped in and is no longer here: drop it in again." if lost else ""
    if not (0 <= view.x < width and 0 <= view.y < height) or lost:
        view = replace(view, x=width // 2, y=height // 2)
    return view, picture, note


def _methods() -> dict[str, str]:
    slow = {"integrated": "integrated (50 passes)", "smoothgrad": "smoothgrad (25 passes)"}
    edges = {"deconvnet": "deconvnet (partly edges)", "guided": "guided (partly edges)"}
    return {method: (slow | edges).get(method, method) for method in METHODS}
