"""HeatmapExplorer: click a pixel in a notebook and see both networks' heatmaps."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from icnn_core.errors import IcnnError
from icnn_viz.displays.heatmaps import HeatmapDisplay
from icnn_viz.displays.latest import LatestOnly
from icnn_viz.displays.page import to_image_tag
from icnn_viz.displays.panel import ClickPanel
from icnn_viz.displays.pixels import Question
from icnn_viz.displays.still import show_with_still
from icnn_viz.figures.maps import check_difference
from icnn_viz.gradients import Network, load_pair, to_networks

if TYPE_CHECKING:
    import ipywidgets
    from torch import nn

INSTALL = (
    'To click in the picture: pip install "icnn-viz[notebook]", then restart the kernel and reload the page.'
)


class HeatmapExplorer:
    """Two networks' heatmaps of the pixel last clicked, side by side on one scale, with their measures.

    The last line of a notebook's cell shows it: a click on any of its panels looks at that pixel; class, method and
    reduction are chosen above. Of clicks that come while the networks work only the latest is answered. Without the
    widgets of the extra `notebook` it shows a still comparison, and `choose` looks elsewhere; a still stays, too, where
    a notebook is read without its kernel.

    Args:
        model_a, model_b: networks, or `Network`s from `load_pair`. The difference shown is a minus b.
        image: (H, W, 3) uint8, RGB.
        pixel: (y, x) to begin with; by default the middle.
        names: of the networks, where they are not `Network`s.
        classes, size, mean, std: of the networks, where they are not `Network`s; see `pixel_gradients`.
        class_id, method, reduction, difference: to begin with; the last "shares" or "raw", see `draw_comparison`.
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
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        divisor: int | None = None,
        output: str | None = None,
        class_id: int | None = None,
        method: str = "gradient",
        reduction: str = "",
        difference: str = "shares",
        theme: str = "light",
    ) -> None:
        self.image = np.asarray(image)
        said = {"mean": mean, "std": std, "divisor": divisor, "output": output}
        self._networks = [
            network
            for name, model in zip(names, (model_a, model_b), strict=True)
            for network in to_networks("HeatmapExplorer", {name: model}, classes=classes, size=size, **said)
        ]
        self._theme = theme
        middle = (self.image.shape[0] // 2, self.image.shape[1] // 2)
        check_difference(difference)
        self.choice = Question(
            "", pixel or middle, method, class_id, reduction=reduction, difference=difference
        )
        self.display = self._look(self.choice)
        self._lock = threading.RLock()  # clicks may be served while a cell runs
        self._panel: ClickPanel | None = None
        if have_widgets():
            ask = LatestOnly(self._answer).ask
            classes = self._networks[0].classes
            self._panel = ClickPanel(self.display.records[0], self.choice, classes, ask, theme=theme)
        self.figure: Any = self._panel and self._panel.figure
        self.widget: ipywidgets.VBox | None = self._panel and self._panel.widget

    @classmethod
    def from_checkpoints(
        cls, irregular: str | Path, regular: str | Path | None, image: np.ndarray, **options: Any
    ) -> Self:
        """Of two files, or of one beside itself with its positions snapped to the slots (`regular` None)."""
        device, size = options.pop("device", "auto"), options.pop("size", None)
        pair = load_pair(Path(irregular), Path(regular) if regular else None, size=size, device=device)
        return cls(pair[0], pair[1], image, **options)

    def choose(self, **changes: Any) -> Self:
        """Look at something else: `pixel` (y, x), `class_id`, `method`, `reduction`, `difference`; what is not named
        stays.

        Raises:
            IcnnError: as of `pixel_gradients`; what is shown stays as it was.
        """
        with self._lock:
            choice = replace(self.choice, **changes)
            check_difference(choice.difference)
            known = replace(choice, difference=self.choice.difference) == self.choice
            display = self.display if known else self._look(choice)
            self.choice, self.display = choice, display
            if self._panel is not None:
                self._panel.show(display.records[0], choice)
        return self

    def _look(self, choice: Question) -> HeatmapDisplay:
        return HeatmapDisplay.from_networks(
            self._networks,
            self.image,
            choice.pixel,
            class_id=choice.class_id,
            method=choice.method,
            reduction=choice.reduction,
        )

    def _answer(self, wishes: Mapping[str, Any]) -> None:
        """`choose`, and say on the page how long it took or why it cannot be."""
        if self._panel is None:
            return
        self._panel.say("computing …")
        started = time.perf_counter()
        try:
            self.choose(**wishes)
        except IcnnError as error:
            self._panel.refuse(str(error))
        except Exception as error:  # the networks' own: nobody sees what a click raises in a kernel
            self._panel.refuse(f"{type(error).__name__}: {error}")
            raise
        else:
            self._panel.say(f"{time.perf_counter() - started:.2f} s. Click on another pixel.")

    def __repr__(self) -> str:
        y, x = self.choice.pixel
        names = " and ".join(network.name for network in self._networks)
        return f"HeatmapExplorer of {names} at (y, x) = ({y}, {x}), method {self.choice.method}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if self.widget is None:
            note = f"<p><small>{html.escape(INSTALL)}</small></p>"
            shown = self.display.plot(theme=self._theme, difference=self.choice.difference)._repr_html_()
            return {"text/plain": repr(self), "text/html": shown + note}
        return self.widget._repr_mimebundle_(**options)

    def _ipython_display_(self) -> None:
        """What a cell shows: the widget, and a picture that stays where the widget does not."""
        if self.widget is None:
            from IPython.display import display

            display(self._repr_mimebundle_(), raw=True)
            return
        figure = self.display.draw("comparison", theme=self._theme, difference=self.choice.difference)
        show_with_still(self.widget, to_image_tag(figure, dpi=100), repr(self))


def have_widgets() -> bool:
    """Whether the extra `notebook` is installed: plotly's FigureWidget needs anywidget, the menus ipywidgets."""
    try:
        import anywidget  # noqa: F401  # pyright: ignore[reportMissingImports]
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True
