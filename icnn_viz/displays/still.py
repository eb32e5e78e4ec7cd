"""A picture that stands in for a widget where that is gone: in a notebook that was closed, printed or exported."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ipywidgets

AGAIN = "A still picture. To click in it, run the cell again."
NO_WIDGETS = (
    'Nothing to click in here: pip install "icnn-viz[notebook]" where JupyterLab itself is installed, '
    "then reload the page."
)
_LOST = "{first} + .jp-OutputArea-child > .jupyter-widgets:not(:has(.widget-box))"
"""JupyterLab's line in place of a widget whose kernel is gone: "Error displaying widget: model not found"."""


def show_with_still(widget: ipywidgets.DOMWidget, still: str, said: str) -> None:
    """Display a picture and, below it, the widget; with `hide_still` in it the picture goes while the widget lives.

    Args:
        still: HTML.
        said: of the widget, where neither it nor HTML can be shown.
    """
    from IPython.display import display

    name = _name(widget)
    first = f".jp-OutputArea-child:has(.{name})"
    page = f"<style>{_LOST.format(first=first)} {{ display: none; }}</style>"
    page += f'<div class="{name}">{still}<p><small>{html.escape(AGAIN)}</small></p></div>'
    display({"text/plain": said, "text/html": page}, raw=True)
    bundle: Any = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    display(data | {"text/plain": NO_WIDGETS}, raw=True)


def hide_still(widget: ipywidgets.Box) -> None:
    """Add to a box what hides its picture: a rule of style, which is on the page as long as the widget is."""
    import ipywidgets

    rule = f"<style>.{_name(widget)} {{ display: none; }}</style>"
    hidden = ipywidgets.HTML(rule, layout=ipywidgets.Layout(display="none"))
    widget.children = (*widget.children, hidden)


def _name(widget: ipywidgets.DOMWidget) -> str:
    return f"icnn-still-{widget.model_id}"
