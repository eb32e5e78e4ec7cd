"""Page 4: how the positions of a layer moved during training."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from icnn_core.errors import IcnnError
from icnn_core.text import counted
from icnn_viz.displays.tables import to_csv
from icnn_viz.explorer.pages.parts import button, choice, graph, save_png, tell, theme_of, to_download
from icnn_viz.explorer.session import History, Session
from icnn_viz.explorer.states import RunState
from icnn_viz.figures.trajectory import draw_trajectory_interactive

PATH, TITLE, NAV = "/trajectories", "Trajectories", "nav-runs"
_HOW = (
    "There are no snapshots of this network's training. `icnn train … --out RUN` keeps them in RUN/snapshots: start "
    "the explorer with RUN/last.pt, or name the folder with --snapshots."
)


def layout(session: Session, search: str | None) -> html.Div:
    """The page as a query describes it."""
    try:
        run = session.read_run()
    except IcnnError as error:
        text = f"The snapshots cannot be used: {tell(error)}"
        return html.Div(html.P(text, className="note failed"), className="page")
    if run is None:
        return html.Div(html.P(_HOW, className="note", id="how"), className="page")
    steps, clouds = run
    names = {str(n): cloud.layer for n, cloud in enumerate(clouds[-1])}
    last = RunState(layer=str(len(names) - 1))
    view = RunState.from_query(search, last, {"layer": names})
    controls = [
        choice("Layer", "run-layer", names, view.layer),
        html.P(
            f"{counted(len(steps), 'snapshot')}, iterations {steps[0]:,} to {steps[-1]:,}.", className="hint"
        ),
        html.P("Drag the slider under the figure, or play.", className="hint"),
        html.Div(
            [button("PNG", "run-png", "Save the figure as PNG"), button("CSV", "run-csv")],
            className="buttons",
        ),
    ]
    figure = graph("run", "icnn-trajectory", "Positions over the course of training")
    rest = [figure, dcc.Download(id="run-download")]
    return html.Div([html.Section(controls, className="controls"), *rest], className="page runs")


def register(app: Dash, session: Session) -> None:
    """The page's callbacks."""
    save_png(app, "run-png")

    @app.callback(Output("run", "figure"), Input("run-layer", "value"), Input("theme", "data"))
    def draw(layer: str, theme: str | None) -> Any:
        steps, clouds = _need(session)
        number = _layer(layer, clouds[-1])
        return draw_trajectory_interactive([one[number] for one in clouds], steps, theme=theme_of(theme))

    @app.callback(Output(NAV, "href"), Input("run-layer", "value"))
    def write(layer: str) -> str:
        return PATH + RunState(layer).to_query()

    @app.callback(
        Output("run-download", "data"),
        Input("run-csv", "n_clicks"),
        State("run-layer", "value"),
        prevent_initial_call=True,
    )
    def save(clicks: int | None, layer: str) -> Any:
        import pandas as pd

        if not clicks:
            raise PreventUpdate
        steps, clouds = _need(session)
        number = _layer(layer, clouds[-1])
        parts = [
            one[number].to_frame().assign(iteration=step) for step, one in zip(steps, clouds, strict=True)
        ]
        return to_download(to_csv(pd.concat(parts)), "trajectory")


def _need(session: Session) -> History:
    run = session.read_run()
    if run is None:
        raise PreventUpdate
    return run


def _layer(layer: str, clouds: list[Any]) -> int:
    if not str(layer).isdecimal() or int(layer) >= len(clouds):
        raise PreventUpdate
    return int(layer)
