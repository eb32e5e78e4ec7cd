"""The shapes of the explorer's second page that can be clicked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icnn_viz.explorer.kernel_figures import draw_one, draw_plane, draw_space, plane_factor
from icnn_viz.explorer.pages.points import clicked_shape, to_table
from icnn_viz.explorer.zoo import draw_choice
from icnn_viz.figures.clouds_3d import draw_cloud_3d
from icnn_viz.figures.style import get_look
from icnn_viz.figures.zoo import most_changed
from icnn_viz.records import PositionCloud

Make = Callable[..., PositionCloud]


def crafted(make_cloud: Make) -> PositionCloud:
    """Three kernels × two channels of 1×3; kernel 2, channel 1 moves most, its last weight far out and below zero."""
    cloud = make_cloud(kernel_size=(1, 3), kernels=3, channels=2, sharing="none", spread=0.0)
    positions, weights = np.broadcast_to(cloud.slots, (3, 2, 3, 2)).copy(), np.ones((3, 2, 3))
    positions[1, 0, 0] += (0.25, 0.0)
    positions[2, 1, 1] += (0.5, 0.5)
    positions[2, 1, 2] += (0.0, 90.0)
    weights[2, 1] = 0.25, 1.0, -1.0
    return replace(cloud, positions=positions, weights=weights)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_small_shape_leads_to_its_own(make_cloud: Make, theme: str) -> None:
    cloud = crafted(make_cloud)
    figure = draw_choice(cloud, channel=0, kernel=1, theme=theme)
    shapes = most_changed(cloud)
    assert shapes[:2] == [(2, 1), (1, 0)]
    chosen = [
        clicked_shape(cloud, {"customdata": data}, False, "weight") for data in figure.data[0].customdata
    ]
    assert [(kernel, channel) for channel, kernel in chosen] == shapes
    frames = [frame.line.color == get_look(theme).accent for frame in figure.layout.shapes]
    assert frames == [shape == (1, 0) for shape in shapes]


def test_discs_say_weight_sign_and_place(make_cloud: Make) -> None:
    cloud = crafted(make_cloud)
    _, _, crosses, lines, discs = draw_choice(cloud, 0, 0).data
    first = slice(0, 3)
    at = np.stack([crosses.y, crosses.x], 1)[first]
    places = np.stack([discs.y, discs.x], 1)[first] - at.mean(0)
    sizes, look = np.array(discs.marker.size) - 1.5, get_look("light")
    # from the largest down: the middle one, that below zero, which lies beyond the frame, and the smallest
    drawn = cloud.slots[1] + 0.5 * plane_factor(cloud)
    np.testing.assert_allclose(places[[0, 2]], [drawn, cloud.slots[0]], atol=1e-12)
    assert np.isnan(places[1]).all()
    assert sizes[2] / sizes[0] == pytest.approx(0.5)  # a quarter of the area
    assert discs.marker.color[1] == look.background != discs.marker.color[0]
    # the way to it ends at the frame, on its own height
    frame = draw_choice(cloud, 0, 0).layout.shapes[0]
    assert (lines.x[7], lines.y[7]) == pytest.approx((frame.x1, at[2, 0]))


def test_positions_that_are_not_finite_have_no_disc(make_cloud: Make) -> None:
    cloud = make_cloud(channels=3, spread=0.3)
    cloud.positions[0, 1, 4], cloud.positions[0, 2, 5] = np.nan, np.inf
    discs = draw_choice(cloud, 0, 0).data[-1]
    assert np.isnan(np.asarray(discs.x, float)).sum() >= 2
    free = replace(make_cloud(channels=2, spread=0.3), regular=False)
    assert len(draw_choice(free, 1, 0).data) == 4  # no ways from slots that mean nothing


def test_where_slots_mean_nothing_none_are_shown(make_cloud: Make) -> None:
    cloud = replace(make_cloud(channels=5, spread=0.3), regular=False)
    accent = get_look("light").accent
    plane = draw_plane(cloud, None, "")
    assert {trace.marker.color for trace in plane.data} == {accent}  # no crosses either
    assert "slot" not in " ".join(str(trace.hovertemplate) + " ".join(trace.text) for trace in plane.data)
    space = draw_space(cloud, None, "")
    assert {(trace.marker.color, trace.showlegend) for trace in space.data} == {(accent, False)}
    figure = draw_cloud_3d(cloud)
    assert not figure.findobj(lambda artist: artist.get_gid() == "post")
    assert not figure.findobj(lambda artist: artist.get_gid() == "key")
    assert [trace.mode for trace in draw_one(cloud, 0, 0).data] == ["markers+text"]
    rows = to_table(cloud, "", None)[0].children[2].children
    assert [[cell.children for cell in row.children][:2] for row in rows] == [["all weights", "45"]]
