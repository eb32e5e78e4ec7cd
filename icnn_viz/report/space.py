"""The clouds in space for a reader to turn: plotly's figures of all layers, and plotly.js itself."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from icnn_viz.records import PositionCloud


def to_space(clouds: Sequence[PositionCloud]) -> dict[str, Any]:
    """What the page needs to draw any layer in either theme, as plain JSON values.

    Returns:
        "data": the traces of all layers. "layers": per layer which traces are its own, a note on what they show, and
        its scene by theme. "layouts": by theme what all layers have in common.
    """
    from icnn_viz.figures.cloud_pages import draw_cloud_interactive

    figures = {
        theme: json.loads(str(draw_cloud_interactive(clouds, theme=theme).to_json()))
        for theme in ("light", "dark")
    }
    layouts, scenes = {}, {}
    for theme, figure in figures.items():
        layout = figure["layout"]
        views = _list_views(figure)
        scenes[theme] = [view["scene"] for _, _, view in views]
        # The page has its own menu and headings; plotly would cut a long title off.
        layouts[theme] = {k: v for k, v in layout.items() if k not in ("updatemenus", "title", "scene")}
        layouts[theme]["margin"] = layout["margin"] | {"t": 36}  # for the buttons
    layers = [
        {"traces": own, "note": note, "light": light, "dark": dark}
        for (own, note, _), light, dark in zip(_list_views(figures["light"]), *scenes.values(), strict=True)
    ]
    return {
        "data": [t | {"visible": True} for t in figures["light"]["data"]],
        "layers": layers,
        "layouts": layouts,
    }


def _list_views(figure: dict[str, Any]) -> list[tuple[list[int], str, dict[str, Any]]]:
    """Per layer the numbers of its traces, the line below its title, and the view that holds its scene."""
    layout = figure["layout"]
    if "updatemenus" not in layout:  # a single layer
        view = {"title.text": layout["title"]["text"], "scene": layout["scene"]}
        steps: list[Any] = [({"visible": [True] * len(figure["data"])}, view)]
    else:
        steps = [button["args"] for button in layout["updatemenus"][0]["buttons"]]
    return [
        ([number for number, shown in enumerate(of["visible"]) if shown], _to_note(view["title.text"]), view)
        for of, view in steps
    ]


def _to_note(title: str) -> str:
    """ "<b>layer</b><br><sub>note</sub>" to the note alone."""
    return html.unescape(title.rpartition("<sub>")[2].removesuffix("</sub>"))


def read_plotly_js() -> str:
    """plotly.js as the installed plotly brings it, with the line ends that a browser will see."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("\r\n", "\n")
