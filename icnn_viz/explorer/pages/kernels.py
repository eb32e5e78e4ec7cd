"""Page 2: the positions of a layer, brushed in the plane, seen in space; its shapes, and one of them large."""

from __future__ import annotations

from typing import Any

import numpy as np
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from icnn_viz.displays.tables import to_csv
from icnn_viz.explorer.kernel_figures import draw_one, draw_plane, draw_space, select
from icnn_viz.explorer.pages.parts import (
    button,
    choice,
    client,
    graph,
    number,
    save_png,
    theme_of,
    to_download,
)
from icnn_viz.explorer.pages.points import clicked_shape, to_table
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.states import KernelState, brush_of, parse_brush
from icnn_viz.explorer.zoo import draw_choice
from icnn_viz.figures.clouds import describe
from icnn_viz.figures.third_axis import THIRD_AXES
from icnn_viz.records import PositionCloud

PATH, TITLE, NAV = "/kernels", "Kernels", "nav-kernels"
_ALL = "all"


def layout(session: Session, search: str | None) -> html.Div:
    """The page as a query describes it."""
    if not session.clouds:
        text = "The first network has no irregular layer: there are no shapes to look at."
        return html.Div(html.P(text, className="note"), className="page")
    view, cloud = restore(session, search)
    names = {str(n): cloud.layer for n, cloud in enumerate(session.clouds)}
    kernels, channels = cloud.positions.shape[:2]
    pair = [
        number("Input channel", "channel", view.channel, 0, channels - 1),
        number("Kernel", "kernel", view.kernel, 0, kernels - 1),
    ]
    controls = [
        choice("Layer", "layer", names, view.layer),
        html.P(describe(cloud), id="layer-words", className="hint"),
        choice("Slot (y, x)", "slot", _slots(cloud), view.slot or _ALL),
        choice(
            "Third axis", "third_axis", {third_axis: third_axis for third_axis in THIRD_AXES}, view.third_axis
        ),
        html.Div(pair, className="pair"),
        html.P(
            "Drag a box or a lasso in the plane; click a point or one of the small shapes to see it.",
            className="hint",
        ),
        html.Div(
            [
                button("Clear brush", "unbrush"),
                button("PNG", "kernels-png", "Save the four figures as PNG"),
                button("Points CSV", "points-csv", "The brushed points, or all of the layer"),
            ],
            className="buttons",
        ),
        html.Div(id="brushed", **{"aria-live": "polite"}),  # type: ignore[arg-type]
    ]
    brushes = {"modeBarButtonsToRemove": ["autoScale2d"]}
    figures = [
        graph("plane", "icnn-plane", "Positions of the layer's weights in the plane", **brushes),
        graph("space", "icnn-space", "The same positions in space"),
        graph("zoo", "icnn-zoo", "The shapes that changed most, to be clicked on"),
        graph("shape", "icnn-shape", "One shape: where its weights lie and how large they are"),
        html.Section(html.Div(id="by-slot"), className="results"),
    ]
    stores = [
        dcc.Store(id="brush", data=view.brush),
        dcc.Store(id="space-figure"),
        dcc.Download(id="points-download"),
    ]
    return html.Div(
        [html.Section(controls, className="controls"), *figures, *stores], className="page kernels"
    )


def restore(session: Session, search: str | None) -> tuple[KernelState, PositionCloud]:
    """The view of a query, and its layer."""
    allowed = {"layer": [str(n) for n in range(len(session.clouds))], "third_axis": THIRD_AXES}
    last = KernelState(layer=str(len(session.clouds) - 1))
    view = KernelState.from_query(search, last, allowed)
    cloud = session.clouds[int(view.layer)]
    kernels, channels, taps, _ = cloud.positions.shape
    slot = view.slot if cloud.regular and view.slot.isdecimal() and int(view.slot) < taps else ""
    channel, kernel = min(view.channel, channels - 1), min(view.kernel, kernels - 1)
    return KernelState(view.layer, slot, view.third_axis, channel, kernel, view.brush), cloud


def register(app: Dash, session: Session) -> None:
    """The page's callbacks."""
    save_png(app, "kernels-png")
    _register_figures(app, session)
    _register_controls(app, session)


def _register_figures(app: Dash, session: Session) -> None:
    where = [Input("layer", "value"), Input("slot", "value")]

    @app.callback(Output("plane", "figure"), where, Input("theme", "data"), Input("brush", "data"))
    def plane(layer: str, slot: str, theme: str, brush: str) -> Any:
        if ctx.triggered_id == "brush" and brush:
            raise PreventUpdate  # drawn by the reader's own hand
        return draw_plane(_cloud(session, layer), _slot(slot), _checked(brush), theme=theme_of(theme))

    app.clientside_callback(client("turned"), Output("space", "figure"), Input("space-figure", "data"))

    @app.callback(
        Output("space-figure", "data"),
        where,
        Input("third_axis", "value"),
        Input("theme", "data"),
        Input("brush", "data"),
    )
    def space(layer: str, slot: str, third_axis: str, theme: str, brush: str) -> Any:
        cloud = _cloud(session, layer)
        return draw_space(cloud, _slot(slot), _checked(brush), third_axis=third_axis, theme=theme_of(theme))

    @app.callback(
        Output("zoo", "figure"),
        Output("shape", "figure"),
        Input("layer", "value"),
        Input("channel", "value"),
        Input("kernel", "value"),
        Input("theme", "data"),
    )
    def shape(layer: str, channel: int | None, kernel: int | None, theme: str) -> Any:
        cloud = _cloud(session, layer)
        kernels, channels = cloud.positions.shape[:2]
        if channel is None or kernel is None or channel >= channels or kernel >= kernels:
            raise PreventUpdate
        return [draw(cloud, channel, kernel, theme=theme_of(theme)) for draw in (draw_choice, draw_one)]

    @app.callback(Output("by-slot", "children"), Output("brushed", "children"), where, Input("brush", "data"))
    def count(layer: str, slot: str, brush: str) -> Any:
        return to_table(_cloud(session, layer), _checked(brush), _slot(slot))


def _register_controls(app: Dash, session: Session) -> None:
    @app.callback(
        Output("brush", "data"),
        Input("plane", "selectedData"),
        Input("unbrush", "n_clicks"),
        Input("layer", "value"),
        prevent_initial_call=True,
    )
    def brush(selected: dict[str, Any] | None, _: int | None, __: str) -> Any:
        if ctx.triggered_id != "plane":
            return ""
        return brush_of(selected) if selected and selected.keys() & {"range", "lassoPoints"} else no_update

    @app.callback(
        Output("slot", "options"),
        Output("slot", "value"),
        Output("channel", "max"),
        Output("kernel", "max"),
        Output("channel", "value"),
        Output("kernel", "value"),
        Output("layer-words", "children"),
        Input("layer", "value"),
        prevent_initial_call=True,
    )
    def turn_to(layer: str) -> Any:
        cloud = _cloud(session, layer)
        kernels, channels = cloud.positions.shape[:2]
        options = [{"label": name, "value": key} for key, name in _slots(cloud).items()]
        return options, _ALL, channels - 1, kernels - 1, 0, 0, describe(cloud)

    @app.callback(
        Output("channel", "value", allow_duplicate=True),
        Output("kernel", "value", allow_duplicate=True),
        Input("plane", "clickData"),
        Input("space", "clickData"),
        Input("zoo", "clickData"),
        State("layer", "value"),
        State("third_axis", "value"),
        prevent_initial_call=True,
    )
    def inspect(plane: Any, space: Any, zoo: Any, layer: str, third_axis: str) -> Any:
        clicked = {"plane": plane, "space": space, "zoo": zoo}[str(ctx.triggered_id)]
        point = (clicked or {}).get("points", [{}])[0]
        return clicked_shape(_cloud(session, layer), point, ctx.triggered_id == "space", third_axis)

    @app.callback(
        Output(NAV, "href"),
        [Input(id, "value") for id in ("layer", "slot", "third_axis", "channel", "kernel")],
        Input("brush", "data"),
    )
    def write(layer: str, slot: str, third_axis: str, channel: Any, kernel: Any, brush: str) -> Any:
        if channel is None or kernel is None:
            return no_update
        view = KernelState(layer, "" if slot == _ALL else slot, third_axis, channel, kernel, brush or "")
        return PATH + view.to_query()

    @app.callback(
        Output("points-download", "data"),
        Input("points-csv", "n_clicks"),
        State("layer", "value"),
        State("slot", "value"),
        State("brush", "data"),
        prevent_initial_call=True,
    )
    def save(clicks: int | None, layer: str, slot: str, brush: str) -> Any:
        if not clicks:
            raise PreventUpdate
        cloud = _cloud(session, layer)
        frame = cloud.to_frame().loc[select(cloud, _checked(brush), _slot(slot)).ravel()]
        return to_download(to_csv(frame), "points")


def _cloud(session: Session, layer: str) -> PositionCloud:
    if not str(layer).isdecimal() or int(layer) >= len(session.clouds):
        raise PreventUpdate
    return session.clouds[int(layer)]


def _slot(slot: str | None) -> int | None:
    return int(slot) if slot and slot.isdecimal() else None


def _slots(cloud: PositionCloud) -> dict[str, str]:
    slots = np.asarray(cloud.slots) if cloud.regular else ()
    return {_ALL: "all"} | {str(n): f"{n}: ({y:g}, {x:g})" for n, (y, x) in enumerate(slots)}


def _checked(brush: str | None) -> str:
    """The brush, or none if it is not written as one."""
    try:
        return brush if brush and parse_brush(brush) else ""
    except ValueError:
        return ""
