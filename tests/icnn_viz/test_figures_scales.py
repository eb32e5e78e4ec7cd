"""Clouds too small to be seen on their grid: when they are, what is drawn then, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_viz.displays.kernels import KernelDisplay
from icnn_viz.figures.clouds import draw_cloud
from icnn_viz.figures.layers import draw_layers
from icnn_viz.figures.scales import (
    describe_reach,
    facet_factor,
    facet_reach,
    is_tight,
    spread_out,
    takes_facets,
)
from icnn_viz.figures.trajectory import draw_frames, draw_trajectory, draw_trajectory_interactive
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

MakeCloud = Callable[..., PositionCloud]


def _find(figure: Figure, gid: str) -> list[Artist]:
    return [artist for artist in figure.findobj() if str(artist.get_gid() or "").startswith(gid)]


def _texts(figure: Figure) -> str:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " | ".join(text.get_text().replace("\n", " ") for text in texts)


@pytest.fixture
def tight(make_cloud: MakeCloud) -> PositionCloud:
    """3×2 slots, (10, 12) px apart, whose points all lie 0.3 px down or up and 0.4 px left or right of them."""
    cloud = make_cloud(kernel_size=(3, 2), dilation=(10, 12), channels=40)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=cloud.positions.shape)
    return replace(cloud, positions=cloud.slots + signs * (0.3, 0.4))


def test_a_cloud_is_tight_where_most_points_lie_within_a_fifth_of_the_spacing(tight: PositionCloud) -> None:
    assert is_tight(tight)
    for factor, small in ((4.0, True), (5.0, False)):  # 0.2 spacings lie at 4.45 times the displacements
        assert is_tight(spread_out(tight, factor)) == small
    some_far = replace(tight, positions=tight.positions.copy())
    some_far.positions[:, :4] += 30.0  # a tenth
    assert is_tight(some_far)
    some_far.positions[:, :8] += 30.0  # a fifth
    assert not is_tight(some_far)


def test_undeformed_layers_and_single_shapes_are_not_tight(make_cloud: MakeCloud) -> None:
    assert not is_tight(make_cloud(spread=0.0))
    assert not is_tight(make_cloud(spread=0.01, channels=1, sharing="layer"))
    assert is_tight(make_cloud(spread=0.01, channels=2))


def test_what_is_said_of_the_reach_is_counted(tight: PositionCloud) -> None:
    near = replace(tight, positions=tight.slots + 0.3 * (tight.positions - tight.slots))
    mixed = replace(tight, positions=np.concatenate([near.positions[:, :36], tight.positions[:, 36:]], 1))
    assert (
        describe_reach(mixed) == "90 % of the weights lie within 0.15 px of their slots (0.014 grid spacings)"
    )
    assert describe_reach(replace(tight, positions=tight.slots + 0 * tight.positions)).startswith(
        "no weight lies"
    )
    assert describe_reach(replace(tight, regular=False)) == ""


def test_the_scale_can_be_forced_and_is_checked(tight: PositionCloud, make_cloud: MakeCloud) -> None:
    wide = make_cloud()
    assert [takes_facets(scale, tight) for scale in ("auto", "true", "facets")] == [True, False, True]
    assert [takes_facets(scale, wide) for scale in ("auto", "true", "facets")] == [False, False, True]
    with pytest.raises(NameNotFoundError, match="facets"):
        takes_facets("facet", tight)
    many = make_cloud(kernel_size=(10, 7), spread=0.01, channels=4)
    assert not takes_facets("auto", many)
    with pytest.raises(ArgumentError, match="70 slots"):
        takes_facets("facets", many)
    with pytest.raises(ArgumentError, match="no regular places"):
        takes_facets("facets", replace(tight, regular=False))


def test_the_range_is_round_and_holds_all_but_what_ran_away(tight: PositionCloud) -> None:
    assert facet_reach([tight]) == 0.5  # 0.4 px · 1.05, rounded up
    far = replace(tight, positions=tight.positions.copy())
    far.positions[0, :2] += 8.0
    assert facet_reach([far]) == 1.5  # at most three times half of them
    still = replace(tight, positions=tight.positions.copy())
    still.positions[:, :24] = tight.slots  # most never moved; what did is seen all the same
    assert facet_reach([still]) == 0.5
    assert facet_factor(tight, 0.6) == 5.0  # 0.42 · 10 px / 0.6 px = 7, of 1, 2, 3, 5, 10, …
    assert facet_factor(spread_out(tight, 100.0)) == 1.0


def test_facets_show_each_slots_displacements_on_one_range(tight: PositionCloud) -> None:
    tight.positions[0, 0, 4] += 9.0
    tight.positions[0, 1, 2] = np.nan
    figure = draw_cloud(tight, fit_gaussians(tight))
    panels = [ax for ax in figure.axes if str(ax.get_gid()).startswith("facet")]
    assert len(panels) == 6
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    assert panels[0].get_xlim() == (-0.5, 0.5)
    for slot in (1, 2):
        (points,) = (artist for artist in panels[slot].collections if artist.get_gid() == "points")
        drawn = np.asarray(points.get_offsets())[:, ::-1]
        wanted = tight.displacements[:, slot]
        wanted = wanted[np.isfinite(wanted).all(-1)]
        np.testing.assert_allclose(np.sort(drawn, 0), np.sort(wanted, 0))
    texts = _texts(figure)
    assert "of the weights lie within 0.5 px of their slots" in texts
    assert "1 of 240 points lie outside the panels" in texts
    assert "1 of 240 are not finite" in texts
    boxes = [ax.get_position() for ax in panels]  # rows of two, as the slots lie
    assert boxes[0].y0 == pytest.approx(boxes[1].y0)
    assert boxes[1].y0 > boxes[2].y1
    assert boxes[0].x0 == pytest.approx(boxes[2].x0)
    assert boxes[0].x1 < boxes[1].x0


def test_a_cloud_is_drawn_in_one_plane_where_that_is_wanted(tight: PositionCloud) -> None:
    fit = fit_gaussians(tight)
    for options in ({"scale": "true"}, {"magnify": 5.0}, {"half_width": 20.0}):
        assert not _find(draw_cloud(tight, fit, **options), "facet")  # type: ignore[arg-type]


def test_layers_that_are_tight_say_their_factor(tight: PositionCloud, make_cloud: MakeCloud) -> None:
    clouds = [tight, make_cloud("wide", depth=1)]
    fits = [fit_gaussians(cloud) for cloud in clouds]
    figure = draw_layers(clouds, fits)
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["features.3 ×5", "wide"]
    place = np.asarray(_find(figure, "slot 3, 1 sigma")[0].get_center())[::-1]  # type: ignore[attr-defined]
    moved = (tight.slots[3] + 5 * (fits[0].mean[3] - tight.slots[3])) / (10, 12)
    np.testing.assert_allclose(place, moved)
    assert "×" not in draw_layers(clouds, fits, scale="true").axes[0].get_title(loc="left")


def test_a_trajectory_follows_its_last_snapshot(tight: PositionCloud) -> None:
    run = [spread_out(tight, factor) for factor in (0.1, 0.5, 1.0)]
    assert len(_find(draw_trajectory(run, (0, 10, 20)), "facet ")) == 6
    frames = list(draw_frames(run, (0, 10, 20)))
    assert {next(ax for ax in f.axes if ax.get_gid() == "facet 3").get_xlim() for f in frames} == {
        (-0.5, 0.5)
    }
    page = draw_trajectory_interactive(run, (0, 10, 20))
    assert "displacements ×5" in page.layout.title.text  # type: ignore[attr-defined]
    assert "y %" not in page.data[0].hovertemplate  # type: ignore[attr-defined]
    wide = [spread_out(tight, factor) for factor in (0.1, 1.0, 20.0)]
    assert not _find(draw_trajectory(wide, (0, 10, 20)), "facet ")


def test_every_front_draws_facets_by_the_same_rule(tight: PositionCloud) -> None:
    display = KernelDisplay([tight], steps=(0, 5), snapshots=[[spread_out(tight, 0.2)], [tight]])
    for view in ("cloud", "trajectory"):
        assert _find(display.draw(view), "facet ")
        assert not _find(display.draw(view, scale="true"), "facet ")
