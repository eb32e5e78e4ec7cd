"""Page 3: where the taps of every layer land for a pixel, from the regular places to the learnt ones."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.exceptions import PreventUpdate

from icnn_core.errors import IcnnError
from icnn_viz.displays.tables import to_csv
from icnn_viz.displays.taps import TapDisplay
from icnn_viz.explorer.pages.parts import button, choice, graph, number, save_png, tell, theme_of, to_download
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.states import TapState

PATH, TITLE, NAV = "/taps", "Taps", "nav-taps"
_PLACE = ("taps-image", "taps-x", "taps-y")


def layout(session: Session, search: str | None) -> html.Div:
    """The page as a query describes it."""
    if not session.has_taps:
        return html.Div(html.P("Positions alone: taps need a network.", className="note"), className="page")
    names = session.shelf.names()
    view = TapState.from_query(search, TapState(image=next(iter(names)), x=-1, y=-1), {"image": names})
    try:
        height, width = session.shelf.get(view.image).image.shape[:2]
    except IcnnError as error:
        return html.Div(html.P(f"This image cannot be shown: {tell(error)}", role="alert"), className="page")
    inside = 0 <= view.x < width and 0 <= view.y < height
    x, y = (view.x, view.y) if inside else (width // 2, height // 2)
    controls = [
        choice("Image", "taps-image", names, view.image),
        html.Div(
            [number("x (column)", "taps-x", x, 0, width - 1), number("y (row)", "taps-y", y, 0, height - 1)],
            className="pair",
        ),
        html.P(id="taps-words", className="hint", role="status"),
        html.P("The sliders go through layers, and from regular to learnt places.", className="hint"),
        html.Div(
            [button("PNG", "taps-png", "Save the figure as PNG"), button("CSV", "taps-csv")],
            className="buttons",
        ),
    ]
    figure = graph("taps", "icnn-taps", "Where taps land on the image")
    rest = [figure, dcc.Download(id="taps-download")]
    return html.Div([html.Section(controls, className="controls"), *rest], className="page runs")


def register(app: Dash, session: Session) -> None:
    """The page's callbacks."""
    place = [Input(id, "value") for id in _PLACE]
    save_png(app, "taps-png")

    @app.callback(Output("taps", "figure"), Output("taps-words", "children"), *place, Input("theme", "data"))
    def draw(image: str, x: Any, y: Any, theme: str | None) -> Any:
        try:
            display = _look(session, image, x, y)
            return display.page(theme=theme_of(theme)), "; ".join(display.notes())
        except IcnnError as error:
            return no_update, tell(error)

    @app.callback(Output(NAV, "href"), *place)
    def write(image: str, x: Any, y: Any) -> Any:
        return no_update if None in (x, y) else PATH + TapState(image, x, y).to_query()

    @app.callback(
        Output("taps-download", "data"),
        Input("taps-csv", "n_clicks"),
        *[State(id, "value") for id in _PLACE],
        prevent_initial_call=True,
    )
    def save(clicks: int | None, image: str, x: Any, y: Any) -> Any:
        if not clicks:
            raise PreventUpdate
        return to_download(to_csv(_look(session, image, x, y).to_frame()), "taps")


def _look(session: Session, image: str, x: Any, y: Any) -> TapDisplay:
    if not all(isinstance(value, int) for value in (x, y)):
        raise PreventUpdate
    return session.taps(str(image), (y, x))
