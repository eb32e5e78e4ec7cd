"""HeatmapExplorer: click a pixel in a notebook and see both networks' heatmaps."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from icnn_core.errors import IcnnError
from icnn_viz.displays.heatmaps import HeatmapDisplay
from icnn_viz.gradients import IMAGENET_MEAN, IMAGENET_STD, METHODS, Network, load_pair
from icnn_viz.heatmaps import REDUCTIONS

if TYPE_CHECKING:
    import ipywidgets
    from torch import nn

INSTALL = 'To click in the picture: pip install "icnn[notebook]", then restart the notebook.'
PREDICTED = "predicted at the pixel"


@dataclass(frozen=True)
class Choice:
    """What is looked at. `pixel` is (y, x); `class_id` None is the class the first network predicts there."""

    pixel: tuple[int, int]
    class_id: int | None = None
    method: str = "gradient"
    reduction: str = "max"


class HeatmapExplorer:
    """Two networks' heatmaps of the pixel last clicked, side by side on one scale.

    The last line of a notebook's cell shows it: a click on any of its panels looks at that pixel; class, method and
    reduction are chosen above. Without the widgets of the extra `notebook` it shows a still comparison, and `choose`
    looks elsewhere.

    Args:
        model_a, model_b: networks, or `Network`s from `load_pair`. The difference shown is a minus b.
        image: (H, W, 3) uint8, RGB.
        pixel: (y, x) to begin with; by default the middle.
        names: of the networks, where they are not `Network`s.
        classes, size, mean, std: of the networks, where they are not `Network`s; see `pixel_gradients`.
        class_id, method, reduction: to begin with.
        theme: "light" or "dark".

    Attributes:
        choice: what is looked at.
        display: the HeatmapDisplay of it, with the arrays and measures.
        figure: the FigureWidget, or None without widgets.
        widget: all that is shown, or None without widgets.

    Raises:
        IcnnError: as of `pixel_gradients`.
    """

    def __init__(
        self,
        model_a: nn.Module | Network,
        model_b: nn.Module | Network,
        image: np.ndarray,
        *,
        pixel: tuple[int, int] | None = None,
        names: tuple[str, str] = ("irregular", "regular"),
        classes: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        class_id: int | None = None,
        method: str = "gradient",
        reduction: str = "max",
        theme: str = "light",
    ) -> None:
        self.image = np.asarray(image)
        self._networks = [
            model if isinstance(model, Network) else Network(name, model, size, tuple(classes), mean, std)
            for name, model in zip(names, (model_a, model_b), strict=True)
        ]
        self._theme = theme
        middle = (self.image.shape[0] // 2, self.image.shape[1] // 2)
        self.choice = Choice(pixel or middle, class_id, method, reduction)
        self.display = self._look(self.choice)
        self.figure: Any = None
        self.widget: ipywidgets.VBox | None = None
        self._menus: dict[str, ipywidgets.Dropdown] = {}
        if have_widgets():
            self._build()

    @classmethod
    def from_checkpoints(
        cls, irregular: str | Path, regular: str | Path | None, image: np.ndarray, **options: Any
    ) -> Self:
        """Of two files, or of one beside itself with its positions snapped to the slots (`regular` None)."""
        device, size = options.pop("device", "auto"), options.pop("size", None)
        pair = load_pair(Path(irregular), Path(regular) if regular else None, size=size, device=device)
        return cls(pair[0], pair[1], image, **options)

    def choose(self, **changes: Any) -> Self:
        """Look at something else: `pixel` (y, x), `class_id`, `method`, `reduction`; what is not named stays.

        Raises:
            IcnnError: as of `pixel_gradients`; what is shown stays as it was.
        """
        choice = replace(self.choice, **changes)
        display = self._look(choice)
        self.choice, self.display = choice, display
        if self.figure is not None:
            from icnn_viz.figures.comparison_pages import to_parts, update_page

            look = display.looks[0]
            update_page(self.figure, to_parts(look.gradients, look.heatmaps))
        self._set_menus()
        return self

    def _look(self, choice: Choice) -> HeatmapDisplay:
        return HeatmapDisplay.from_networks(
            self._networks,
            self.image,
            choice.pixel,
            class_id=choice.class_id,
            method=choice.method,
            reduction=choice.reduction,
        )

    def _build(self) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        from icnn_viz.figures.comparison_pages import draw_comparison_interactive

        look = self.display.looks[0]
        page = draw_comparison_interactive(look.gradients, look.heatmaps, theme=self._theme)
        self.figure = go.FigureWidget(page)
        for trace in self.figure.data:
            if trace.type == "heatmap":
                trace.on_click(self._on_click)
        names = self._networks[0].classes
        classes = [(PREDICTED, None), *((name, number) for number, name in enumerate(names))]
        self._menus = {
            "class_id": ipywidgets.Dropdown(options=classes, value=self.choice.class_id, description="class"),
            "method": ipywidgets.Dropdown(options=METHODS, value=self.choice.method, description="method"),
            "reduction": ipywidgets.Dropdown(
                options=REDUCTIONS, value=self.choice.reduction, description="colours"
            ),
        }
        for field, menu in self._menus.items():
            menu.observe(lambda change, field=field: self._on_menu(field, change["new"]), names="value")
        self._said = ipywidgets.HTML("Click on a pixel in any of the panels.")
        self.widget = ipywidgets.VBox([ipywidgets.HBox(list(self._menus.values())), self._said, self.figure])

    def _on_click(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs and points.ys:
            self._try(pixel=(round(points.ys[0]), round(points.xs[0])))

    def _on_menu(self, field: str, value: Any) -> None:
        if value != getattr(self.choice, field):  # else it was set by `_set_menus`
            self._try(**{field: value})

    def _set_menus(self) -> None:
        for field, menu in self._menus.items():
            menu.value = getattr(self.choice, field)

    def _try(self, **changes: Any) -> None:
        """`choose`, and say on the page how long it took or why it cannot be."""
        self._said.value = "computing …"
        started = time.perf_counter()
        try:
            self.choose(**changes)
            self._said.value = f"{time.perf_counter() - started:.2f} s"
        except IcnnError as error:
            self._set_menus()
            self._said.value = html.escape(str(error))

    def __repr__(self) -> str:
        y, x = self.choice.pixel
        names = " and ".join(network.label for network in self._networks)
        return f"HeatmapExplorer of {names} at (y, x) = ({y}, {x}), method {self.choice.method}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if self.widget is not None:
            return self.widget._repr_mimebundle_(**options)
        shown = self.display.plot(theme=self._theme)._repr_html_()
        return {"text/plain": repr(self), "text/html": f"{shown}<p><small>{html.escape(INSTALL)}</small></p>"}


def have_widgets() -> bool:
    """Whether the extra `notebook` is installed: plotly's FigureWidget needs anywidget, the menus ipywidgets."""
    try:
        import anywidget  # noqa: F401  # pyright: ignore[reportMissingImports]
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True
