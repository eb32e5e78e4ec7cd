"""What the pages' layouts have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, dcc, html

from icnn_core.errors import IcnnError
from icnn_viz.figures.style import THEMES

GRAPH = {
    "displaylogo": False,
    "responsive": True,
    "displayModeBar": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["autoScale2d", "select2d", "lasso2d"],
}


def tell(error: IcnnError) -> str:
    """What went wrong, for a browser: without who says so, which may be a path of this machine's disk."""
    return f"needs {error.needed}; got {error.got}. {error.fix}"


def client(name: str) -> ClientsideFunction:
    """A function of assets/explorer.js."""
    return ClientsideFunction("explorer", name)


def save_png(app: Dash, id: str) -> None:
    """Let a button save the page's figures."""
    app.clientside_callback(
        client("png"), Output(id, "title"), Input(id, "n_clicks"), prevent_initial_call=True
    )


def theme_of(theme: Any) -> str:
    """A theme that a browser names; another one is light."""
    return theme if theme in THEMES else "light"


def to_download(text: str, name: str) -> dict[str, str]:
    """A CSV file as dcc.Download takes it."""
    return {"content": text, "filename": f"icnn-{name}.csv", "type": "text/csv"}


def field(label: str, id: str, control: Any) -> html.Div:
    """A control under its label."""
    return html.Div([html.Label(label, htmlFor=id, id=f"{id}-label"), control], className="field")


def choice(label: str, id: str, options: Mapping[str, str], value: str) -> html.Div:
    """A menu: options are shown names by value."""
    listed: list[Any] = [{"label": name, "value": key} for key, name in options.items()]
    menu = dcc.Dropdown(id=id, options=listed, value=value, clearable=False, searchable=len(listed) > 12)
    return field(label, id, menu)


def number(label: str, id: str, value: float, low: float, high: float, step: float = 1) -> html.Div:
    """A number between two limits, both inclusive."""
    return field(
        label, id, dcc.Input(id=id, type="number", value=value, min=low, max=high, step=step, debounce=0.3)
    )


def graph(id: str, name: str, label: str, **options: Any) -> html.Div:
    """A figure, told to screen readers as `label`; saved as PNG under `name`. `options` are plotly's."""
    config: Any = GRAPH | {"toImageButtonOptions": {"filename": name, "scale": 2}} | options
    figure = dcc.Graph(id=id, config=config, responsive=True, className="figure")
    return html.Div(figure, role="group", className="figure-box", **{"aria-label": label})  # type: ignore[arg-type]


def button(text: str, id: str, title: str = "") -> html.Button:
    """A push button."""
    return html.Button(text, id=id, type="button", n_clicks=0, title=title or text)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> html.Table:
    """A table whose first column names its rows."""
    top = html.Thead(html.Tr([html.Th(text, scope="col") for text in head]))
    body = [
        html.Tr([html.Th(first, scope="row"), *(html.Td(text) for text in rest)]) for first, *rest in rows
    ]
    return html.Table([html.Caption(caption), top, html.Tbody(body)])
