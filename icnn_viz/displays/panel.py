"""The widgets of HeatmapExplorer: menus, the figure to click in, and the measures beside it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from icnn_viz.displays.page import to_measures_html
from icnn_viz.displays.pixels import METHODS, REDUCTIONS, Question
from icnn_viz.displays.still import hide_still

if TYPE_CHECKING:
    from icnn_viz.records import PixelComparison

PREDICTED = "predicted at the pixel"
BY_METHOD = "as the method is read"
_DIFFERENCES = [("of shares", "shares"), ("of maps as they are", "raw")]
_NO_CLASS = -1  # a menu with the value None shows nothing chosen
_TABLE_WIDTH = "270px"  # beside the figure in a window of 1440 pixels, below it in a narrower one
_NOT_FOR_CLICKS = ("select2d", "lasso2d", "autoScale2d")


class ClickPanel:
    """What HeatmapExplorer shows where widgets are installed.

    Args:
        record, choice: to begin with.
        classes: names by class id, for the menu.
        ask: called with what is clicked or chosen: `pixel`, `class_id`, `method`, `reduction` or `difference`.

    Attributes:
        figure: the FigureWidget.
        menus: by the field of a Question.
        said: the line above the figure.
        measures: the table beside it.
        widget: all of them.
    """

    def __init__(
        self,
        record: PixelComparison,
        choice: Question,
        classes: Sequence[str],
        ask: Callable[..., None],
        *,
        theme: str,
    ) -> None:
        import ipywidgets

        self._choice = choice
        self._ask = ask
        self._setting = False  # menus that are set here are no wishes
        self.figure = _to_figure(record, choice, theme)
        for trace in self.figure.data:
            if trace.type == "heatmap":
                trace.on_click(self._on_click)
        self.menus = {
            "class_id": ipywidgets.Dropdown(
                options=[(PREDICTED, _NO_CLASS), *((name, number) for number, name in enumerate(classes))],
                description="class",
            ),
            "method": ipywidgets.Dropdown(options=METHODS, description="method"),
            "reduction": ipywidgets.Dropdown(
                options=[(BY_METHOD, ""), *((name, name) for name in REDUCTIONS)], description="colours"
            ),
            "difference": ipywidgets.Dropdown(options=_DIFFERENCES, description="difference"),
        }
        self._set_menus()
        for field, menu in self.menus.items():
            menu.observe(lambda change, field=field: self._on_menu(field, change["new"]), names="value")
        self.said = ipywidgets.HTML("Click on a pixel in any of the panels.")
        self.measures = ipywidgets.HTML(
            to_measures_html(record), layout=ipywidgets.Layout(width=_TABLE_WIDTH)
        )
        wrap = ipywidgets.Layout(flex_flow="row wrap")
        rows = [ipywidgets.HBox(list(self.menus.values()), layout=wrap), self.said]
        self.widget = ipywidgets.VBox([*rows, ipywidgets.HBox([self.figure, self.measures], layout=wrap)])
        hide_still(self.widget)

    def show(self, record: PixelComparison, choice: Question) -> None:
        """Another pixel: new maps, measures and menus."""
        from icnn_viz.figures.comparison_pages import update_page
        from icnn_viz.figures.comparison_parts import to_parts

        self._choice = choice
        update_page(self.figure, to_parts(record.gradients, record.heatmaps, **_known(record, choice)))
        _keep(self.figure)
        self.measures.value = to_measures_html(record)
        self._set_menus()

    def refuse(self, why: str) -> None:
        """Say why what was chosen cannot be shown, and put the menus back."""
        self._set_menus()
        self.say(why)

    def say(self, text: str) -> None:
        """A line of plain text above the figure."""
        self.said.value = html.escape(text)

    def _set_menus(self) -> None:
        self._setting = True
        try:
            for field, menu in self.menus.items():
                value = getattr(self._choice, field)
                value = _NO_CLASS if value is None else value
                known = [each[1] if isinstance(each, tuple) else each for each in menu.options]
                if value not in known:  # a class without a name
                    menu.options = (*menu.options, (str(value), value))
                menu.value = value
        finally:
            self._setting = False

    def _on_click(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs and points.ys:
            self._ask(pixel=(round(points.ys[0]), round(points.xs[0])))

    def _on_menu(self, field: str, value: Any) -> None:
        if not self._setting:
            self._ask(**{field: None if value == _NO_CLASS else value})


def _to_figure(record: PixelComparison, choice: Question, theme: str) -> Any:
    import plotly.graph_objects as go

    from icnn_viz.figures.comparison_pages import draw_comparison_interactive

    drawn = draw_comparison_interactive(
        record.gradients, record.heatmaps, theme=theme, **_known(record, choice)
    )
    figure: Any = go.FigureWidget(drawn)
    figure.layout.modebar.remove += _NOT_FOR_CLICKS
    return figure


def _known(record: PixelComparison, choice: Question) -> dict[str, Any]:
    known = {"measures": record.measures, "true_class": record.true_class, "labels": record.labels}
    return known | {"difference": choice.difference}


def _keep(figure: Any) -> None:
    """plotly tells the open pages of a change; a page that is opened later would get what was drawn first."""
    figure._widget_data = deepcopy(figure._data)
    figure._widget_layout = deepcopy(figure._layout_obj._props)
