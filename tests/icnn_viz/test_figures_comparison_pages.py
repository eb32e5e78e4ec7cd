"""The page of heatmaps: every value where it belongs, one scale, colours as in print, any number of networks."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
import pytest

from icnn_core.errors import ArgumentError
from icnn_viz.figures import comparison_pages
from icnn_viz.figures.comparison_pages import draw_comparison_interactive, to_parts, update_page
from icnn_viz.figures.maps import fit_scale
from icnn_viz.heatmaps import to_heatmap
from icnn_viz.records import Heatmap, PixelGradient

MakeGradient = Callable[..., PixelGradient]
Pair = tuple[list[PixelGradient], list[Heatmap]]


def _looks(make: MakeGradient, count: int = 2, **changes: object) -> Pair:
    gradients = [make(f"net {n}", n, **changes) for n in range(count)]
    return gradients, [to_heatmap(gradient) for gradient in gradients]


def _maps(figure: go.Figure) -> list[go.Heatmap]:
    return [trace for trace in figure.data if trace.type == "heatmap" and trace.name != "click"]


@pytest.mark.parametrize(("count", "theme"), [(2, "light"), (3, "dark"), (4, "light")])
def test_maps_and_their_difference_share_the_image_and_one_scale(
    make_gradient: MakeGradient, count: int, theme: str
) -> None:
    gradients, heatmaps = _looks(make_gradient, count)
    figure = draw_comparison_interactive(gradients, heatmaps, theme=theme)
    maps = _maps(figure)
    values = [h.values for h in heatmaps]
    shares = [value / value.sum() for value in values]
    ordered = [values[1], values[0], *values[2:]]
    for trace, wanted in zip(maps, [*ordered, shares[0] - shares[1]], strict=True):
        np.testing.assert_allclose(trace.z, wanted, rtol=1e-6, atol=1e-12)
    assert [trace.coloraxis for trace in maps] == ["coloraxis"] * count + ["coloraxis2"]
    assert figure.layout.coloraxis.cmax == fit_scale(values).top
    assert figure.layout.coloraxis2.cmin == -figure.layout.coloraxis2.cmax
    assert len(
        [trace for trace in figure.data if trace.name == "cross" and (trace.y[0], trace.x[0]) == (9, 20)]
    ) == (3 * (count + 2))


def test_rows_run_downwards_and_pixels_are_square(make_gradient: MakeGradient) -> None:
    layout = draw_comparison_interactive(*_looks(make_gradient)).layout
    assert tuple(layout.yaxis.range) == (23.5, -0.5)
    assert tuple(layout.xaxis3.range) == (-0.5, 36.5)
    assert layout.yaxis.scaleanchor == "x"
    assert (layout.yaxis2.scaleanchor, layout.yaxis2.matches) == (None, "y")
    assert layout.xaxis4.matches == "x"


def rgba(name: str, place: float) -> str:
    """A colour of a map as plotly writes it, but for its opacity."""
    red, green, blue = (round(255 * part) for part in mpl.colormaps[name](place)[:3])
    return f"rgba({red},{green},{blue},"


def test_colours_go_with_the_power_of_the_value(make_gradient: MakeGradient) -> None:
    figure = draw_comparison_interactive(*_looks(make_gradient), gamma=0.5)
    places, colours = zip(*figure.layout.coloraxis.colorscale, strict=True)
    quarter = colours[int(np.argmin(np.abs(np.array(places) - 0.25)))]
    assert quarter.startswith(rgba("inferno", 0.5))
    places, colours = zip(*figure.layout.coloraxis2.colorscale, strict=True)
    assert colours[int(np.argmin(np.abs(np.array(places) - 0.5)))].startswith(rgba("PuOr", 0.5))
    low = colours[
        int(np.argmin(np.abs(np.array(places) - 0.375)))
    ]  # a quarter of the way out, on the other side
    assert low.startswith(rgba("PuOr", 0.25))


def test_another_look_replaces_all_that_belongs_to_the_first(make_gradient: MakeGradient) -> None:
    figure = draw_comparison_interactive(*_looks(make_gradient))
    other = _looks(make_gradient, pixel=(3, 30), class_id=0, logit=7.0, method="integrated")
    update_page(figure, to_parts(*other))
    fresh = draw_comparison_interactive(*other)
    for mine, theirs in zip(_maps(figure), _maps(fresh), strict=True):
        np.testing.assert_array_equal(mine.z, theirs.z)
    assert figure.layout.title.text == fresh.layout.title.text
    assert "x = 30, y = 3" in figure.layout.title.text
    assert [a.text for a in figure.layout.annotations] == [a.text for a in fresh.layout.annotations]
    assert figure.layout.coloraxis == fresh.layout.coloraxis
    assert figure.layout.coloraxis2 == fresh.layout.coloraxis2
    assert "attribution" in figure.layout.coloraxis.colorbar.title.text
    assert {trace.x[0] for trace in figure.data if trace.name == "cross"} == {30}
    lines = [[(t.x, t.y, t.line.color) for t in page.data if t.name == "line"] for page in (figure, fresh)]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 2 * 3 + 2 * 2


def test_outlines_and_contours_lie_where_print_has_them(make_gradient: MakeGradient) -> None:
    labels = np.zeros((24, 37), np.int64)
    labels[5:12, 15:30] = 1
    figure = draw_comparison_interactive(*_looks(make_gradient), true_class="rod", labels=labels)
    rim, true, *_ = [trace for trace in figure.data if trace.name == "line"]
    assert rim.x == true.x
    xs, ys = ([value for value in axis if value is not None] for axis in (true.x, true.y))
    assert (min(xs), max(xs), min(ys), max(ys)) == (14.5, 29.5, 4.5, 11.5)
    assert (true.xaxis, true.line.color) == ("x", "#ffffff")
    assert "white, the true object (rod)" in figure.layout.title.text.replace("<br>", " ")


def test_names_are_text_and_maps_that_differ_in_kind_are_refused(make_gradient: MakeGradient) -> None:
    gradients, heatmaps = _looks(make_gradient, classes=("a", "<img src=x>"))
    page = draw_comparison_interactive(gradients, heatmaps)
    assert "<img" not in page.layout.title.text
    assert "&lt;img" in page.layout.title.text
    with pytest.raises(ArgumentError, match="2 or more"):
        draw_comparison_interactive(gradients[:1], heatmaps[:1])


def test_a_page_that_has_its_own_words_gives_size_and_zoom_and_the_maps_lie_over_the_image(
    make_gradient: MakeGradient,
) -> None:
    figure = draw_comparison_interactive(*_looks(make_gradient), opacity=0.4, revision="street", fluid=True)
    layout = figure.layout
    assert (layout.width, layout.height, layout.title.text, layout.uirevision) == (None, None, None, "street")
    assert [(image.xref, image.yref) for image in layout.images] == [("x2", "y2"), ("x3", "y3"), ("x4", "y4")]
    assert [trace.opacity for trace in figure.data if trace.type == "heatmap"] == [0.4] * 3


def test_a_large_map_is_shown_by_its_largest_values_where_they_lie(
    make_gradient: MakeGradient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison_pages, "MOST_SHOWN", 24 * 37 // 4)
    gradients, heatmaps = _looks(make_gradient)
    figure = draw_comparison_interactive(gradients, heatmaps)
    for trace, values in zip(_maps(figure), [h.values for h in heatmaps[::-1]], strict=False):
        assert (trace.x0, trace.dx, trace.y0, trace.dy) == (0.5, 2, 0.5, 2)
        assert trace.z.shape == (12, 19)
        assert trace.z[5, 10] == np.float32(values[10:12, 20:22].max())
    update_page(figure, to_parts(gradients, heatmaps))
    assert _maps(figure)[0].z.shape == (12, 19)


@pytest.mark.parametrize("fluid", [True, False])
def test_over_the_image_maps_are_as_opaque_as_they_are_strong(
    make_gradient: MakeGradient, fluid: bool
) -> None:
    layout = draw_comparison_interactive(*_looks(make_gradient), fluid=fluid).layout
    for axis, signed in ((layout.coloraxis, False), (layout.coloraxis2, True)):
        places, colours = zip(*axis.colorscale, strict=True)
        alphas = [float(c.rstrip(")").split(",")[3]) if c.startswith("rgba") else 1.0 for c in colours]
        strengths = [abs(2 * p - 1) if signed else p for p in places]
        wanted = [0.85 * strength**0.5 for strength in strengths]  # colours go with the square root
        assert alphas == pytest.approx(wanted, abs=2e-3)
