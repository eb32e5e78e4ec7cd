"""What a notebook keeps of HeatmapExplorer when its kernel is gone: a picture, and no line about a lost widget."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from icnn_viz import HeatmapExplorer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Published = Callable[[HeatmapExplorer], list[dict[str, str]]]
_WIDGET = '<div class="lm-Widget widget-box widget-vbox">menus and figure</div>'


@pytest.fixture(scope="module")
def explorer() -> HeatmapExplorer:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)
    return HeatmapExplorer(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 5, padding=2), image)


def test_a_cell_shows_the_widget_and_a_still_that_the_living_widget_hides(
    explorer: HeatmapExplorer, published: Published
) -> None:
    still, live = published(explorer)
    assert "data:image/png;base64," in still["text/html"]
    assert "run the cell again" in still["text/html"]
    assert still["text/plain"] == repr(explorer)
    name = re.search(r'<div class="(icnn-still-\w+)">', still["text/html"])
    assert name is not None
    assert explorer.widget is not None
    assert explorer.widget.children[-1].value == f"<style>.{name[1]} {{ display: none; }}</style>"
    assert "application/vnd.jupyter.widget-view+json" in live
    assert 'pip install "icnn-viz[notebook]"' in live["text/plain"]


def test_jupyterlabs_line_about_a_lost_widget_is_hidden_and_the_widget_is_not(
    explorer: HeatmapExplorer, published: Published, browser: Browser
) -> None:
    still, _ = published(explorer)
    page = browser.new_page()
    for inside, seen in (("Error displaying widget: model not found", False), (_WIDGET, True)):
        outputs = (still["text/html"], inside, "another output")
        classes = ("jp-RenderedHTML", "jupyter-widgets", "jupyter-widgets")
        children = [
            f'<div class="jp-OutputArea-child"><div class="jp-OutputArea-output {kind}">{html}</div></div>'
            for kind, html in zip(classes, outputs, strict=True)
        ]
        page.set_content("".join(children))
        shown = [output.is_visible() for output in page.locator(".jp-OutputArea-output").all()]
        assert shown == [True, seen, True]
    page.close()
