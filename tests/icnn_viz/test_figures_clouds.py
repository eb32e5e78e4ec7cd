"""Figures of clouds, by their artists and data; what does not show must be said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly
import pytest
from matplotlib.artist import Artist
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image

from icnn_core.errors import ArgumentError, DataError, NameNotFoundError
from icnn_viz.figures.cloud_pages import draw_cloud_interactive
from icnn_viz.figures.clouds import MAX_POINTS, draw_cloud
from icnn_viz.figures.clouds_3d import draw_cloud_3d
from icnn_viz.figures.marks import view_half_width
from icnn_viz.figures.scales import facet_factor
from icnn_viz.figures.style import get_look, slot_colours
from icnn_viz.figures.third_axis import MANY_SHAPES, to_density
from icnn_viz.figures.write import write_figure
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

MakeCloud = Callable[..., PositionCloud]


def _find(figure: Figure, gid: str) -> list[Artist]:
    return [artist for artist in figure.findobj() if str(artist.get_gid() or "").startswith(gid)]


def _offsets(figure: Figure, gid: str) -> np.ndarray:
    (artist,) = _find(figure, gid)
    assert isinstance(artist, PathCollection)
    return np.asarray(artist.get_offsets())[:, ::-1]  # (y, x)


def _texts(figure: Figure) -> str:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " | ".join(text.get_text().replace("\n", " ") for text in texts)


def _sorted(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T)]


def test_every_point_lies_at_its_place_in_its_slots_colour(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernel_size=(3, 2), channels=7)
    figure = draw_cloud(cloud, fit_gaussians(cloud))
    drawn = _offsets(figure, "points")
    np.testing.assert_allclose(_sorted(drawn), _sorted(cloud.points.reshape(-1, 2)))
    (artist,) = _find(figure, "points")
    colours = [to_hex(colour) for colour in artist.get_facecolor()]  # type: ignore[attr-defined]
    for point, colour in zip(drawn, colours, strict=True):
        slot = np.argwhere((cloud.points == point).all(-1))[0, 1]
        assert colour == slot_colours(cloud.slots)[slot]


def test_slots_and_centres_are_marked(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    fit = fit_gaussians(cloud)
    figure = draw_cloud(cloud, fit)
    np.testing.assert_array_equal(_offsets(figure, "slots"), cloud.slots)
    np.testing.assert_array_equal(_offsets(figure, "centres"), fit.mean)


def test_ellipses_are_the_gaussians_contours(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=500)
    tilt = np.array([[0.8, 0.6], [-0.6, 0.8]])
    cloud = replace(cloud, positions=cloud.slots + (cloud.positions - cloud.slots) @ tilt)
    fit = fit_gaussians(cloud)
    ellipses = [artist for artist in _find(draw_cloud(cloud, fit), "slot ") if isinstance(artist, Ellipse)]
    assert len(ellipses) == 18
    for ellipse in ellipses:
        slot, sigma = map(int, re.findall(r"\d+", str(ellipse.get_gid())))
        contour = ellipse.get_patch_transform().transform(ellipse.get_path().vertices)
        contour = contour[
            np.hypot(*(ellipse.get_path().vertices.T)) < 1.001
        ]  # on the curve, no control points
        offset = contour[:, ::-1] - fit.mean[slot]
        distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(fit.covariance[slot]), offset)
        np.testing.assert_allclose(distance, sigma**2, rtol=1e-3)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axes_are_named_square_and_y_goes_down(make_cloud: MakeCloud, theme: str) -> None:
    cloud = make_cloud()
    figure = draw_cloud(cloud, fit_gaussians(cloud), theme=theme)
    ax = figure.axes[0]
    assert ax.get_xlabel().startswith("x (input pixels")
    assert ax.get_ylabel().startswith("y (input pixels")
    assert ax.get_aspect() == 1.0
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert to_hex(figure.get_facecolor()) == get_look(theme).background
    assert figure.get_figwidth() * 25.4 == pytest.approx(80)


def test_far_outliers_do_not_shrink_the_cloud_but_are_counted(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=400)
    cloud.positions[0, :3, 1] = (0.0, 500.0)
    figure = draw_cloud(cloud, fit_gaussians(cloud))
    assert figure.axes[0].get_xlim()[1] < 60
    assert "3 of 3,600 points lie outside the view" in _texts(figure)
    assert "the ellipse of slot 1 reaches out of the view" in _texts(figure)
    assert "outside" not in _texts(draw_cloud(make_cloud(), fit_gaussians(make_cloud())))


def test_degenerate_layers_are_drawn_and_named(make_cloud: MakeCloud) -> None:
    undeformed = make_cloud(spread=0.0)
    assert "no ellipse for all slots: undeformed" in _texts(draw_cloud(undeformed, fit_gaussians(undeformed)))
    single = make_cloud(channels=1, sharing="layer")
    assert "too few points" in _texts(draw_cloud(single, fit_gaussians(single)))
    lost = make_cloud()
    lost.positions[0, :, 4] = np.nan
    lost.positions[0, 3, 2, 0] = np.inf
    text = _texts(draw_cloud(lost, fit_gaussians(lost)))
    assert "no ellipse for slot 4: not finite" in text
    assert "41 of 360 are not finite" in text
    gone = make_cloud()
    gone.positions[:] = np.nan
    assert "360 of 360 are not finite" in _texts(draw_cloud(gone, fit_gaussians(gone)))


def test_too_many_points_are_thinned_and_it_is_said(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=80, channels=90, sharing="none")
    figure = draw_cloud(cloud, fit_gaussians(cloud))
    assert len(_offsets(figure, "points")) == MAX_POINTS
    assert "60,000 of 64,800 drawn" in _texts(figure)


def test_a_view_holds_slots_ellipses_and_nearly_all_points(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(dilation=(12, 12), spread=0.01)
    assert 12 < view_half_width([cloud]) < 20
    wide = make_cloud(dilation=(1, 1), spread=6.0, channels=1000)
    inside = (np.abs(wide.points) < view_half_width([wide], [fit_gaussians(wide)])).all(-1)
    assert inside.mean() >= 0.995
    assert view_half_width([cloud, wide]) >= max(view_half_width([cloud]), view_half_width([wide]))


def test_axes_of_ones_own_are_drawn_into(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    mine = Figure()
    ax = mine.add_subplot()
    assert draw_cloud(cloud, fit_gaussians(cloud), ax=ax) is mine
    assert len(mine.axes) == 1
    np.testing.assert_array_equal(_offsets(mine, "slots"), cloud.slots)


def test_displacements_may_be_magnified_and_it_is_said(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(spread=0.01)
    wanted = (cloud.slots + 20 * (cloud.points - cloud.slots)).reshape(-1, 2)
    flat = draw_cloud(cloud, fit_gaussians(cloud), magnify=20)
    np.testing.assert_allclose(_sorted(_offsets(flat, "points")), _sorted(wanted))
    np.testing.assert_array_equal(_offsets(flat, "slots"), cloud.slots)
    deep = draw_cloud_3d(cloud, magnify=20)
    (points,) = _find(deep, "points")
    x, y, _ = (np.asarray(axis) for axis in points._offsets3d)  # type: ignore[attr-defined]
    np.testing.assert_allclose(_sorted(np.stack([y, x], 1)), _sorted(wanted))
    for figure in (flat, deep):
        assert "displacements ×20" in _texts(figure)
    assert "displacements" not in _texts(draw_cloud(cloud, fit_gaussians(cloud)))


def test_slots_that_are_not_chosen_are_grey_and_without_ellipse(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=5)
    figure = draw_cloud(cloud, fit_gaussians(cloud), slots=[7, 2])
    assert {str(artist.get_gid())[:6] for artist in _find(figure, "slot ")} == {"slot 2", "slot 7"}
    (points,) = _find(figure, "points")
    colours = {to_hex(colour) for colour in points.get_facecolor()}  # type: ignore[attr-defined]
    chosen = slot_colours(cloud.slots)
    assert colours == {chosen[2], chosen[7], get_look("light").grid}
    with pytest.raises(ArgumentError, match="needs 0 to 8; got 9"):
        draw_cloud(cloud, fit_gaussians(cloud), slots=[9])


def test_slots_that_form_no_grid_have_a_key_of_dots(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    bent = replace(cloud, slots=cloud.slots + np.arange(18).reshape(9, 2) / 50)
    figure = draw_cloud(bent, fit_gaussians(bent))
    (key,) = _find(figure, "key")
    middles = np.array([path.vertices[:24].mean(0) for path in key.get_paths()])  # type: ignore[attr-defined]
    moves = (middles - middles[0]) * (1, -1)  # y goes down
    slots = (bent.slots - bent.slots[0])[:, ::-1]
    np.testing.assert_allclose(moves, slots * (moves[-1, 0] / slots[-1, 0]), atol=1e-6)
    assert not any(text.get_text() == "4" for text in figure.texts)
    figure = draw_cloud(cloud, fit_gaussians(cloud))
    assert sum(text.get_text() == "4" for text in figure.texts) == 1


def test_the_third_axis_is_what_carries_meaning(make_cloud: MakeCloud) -> None:
    for channels, surface in ((MANY_SHAPES, False), (MANY_SHAPES + 1, True)):
        cloud = make_cloud(channels=channels)
        figure = draw_cloud_3d(cloud)
        assert bool(_find(figure, "density")) == surface
        assert figure.axes[0].get_zlabel() == (  # type: ignore[attr-defined]
            "points per px² and shape" if surface else "norm of the weights"
        )
        kind = type(draw_cloud_interactive([cloud]).data[0]).__name__
        assert kind == ("Surface" if surface else "Scatter3d")


def test_near_points_are_larger_than_far_ones(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=30)
    (artist,) = _find(draw_cloud_3d(cloud), "points")
    x, y, _ = (np.asarray(axis) for axis in artist._offsets3d)  # type: ignore[attr-defined]
    sizes = artist.get_sizes()  # type: ignore[attr-defined]
    assert (np.diff(sizes[np.argsort(x + y)]) >= 0).all()
    assert sizes.max() > 2 * sizes.min()


def test_lines_stand_on_the_slots_in_the_page_too(make_cloud: MakeCloud, tmp_path: Path) -> None:
    cloud = make_cloud(kernel_size=(3, 2))
    figure = draw_cloud_interactive([cloud])
    posts = figure.data[6]
    np.testing.assert_allclose(np.stack([posts.y, posts.x], 1)[::3], cloud.slots)
    np.testing.assert_allclose(posts.z[:2], (0.0, cloud.point_weights.max()), rtol=1e-6)
    text = write_figure(figure, tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<meta name="viewport" content="width=device-width' in text
    assert len(draw_cloud_interactive([replace(cloud, regular=False)]).data) == 6


def test_small_displacements_in_space_are_drawn_longer_and_it_is_said(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(dilation=(12, 12), spread=0.1)
    for texts in (_texts(draw_cloud_3d(cloud)), draw_cloud_interactive([cloud]).layout.title.text):
        assert "displacements ×10" in texts
    assert "displacements" not in _texts(draw_cloud_3d(cloud, scale="true"))


def test_the_third_axis_may_be_the_channel(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=11)
    figure = draw_cloud_3d(cloud, third_axis="channel")
    ax = figure.axes[0]
    assert ax.get_zlabel() == "input channel"  # type: ignore[attr-defined]
    (artist,) = _find(figure, "points")
    x, y, z = (np.asarray(axis) for axis in artist._offsets3d)  # type: ignore[attr-defined]
    assert len(z) == 99
    for point_x, point_y, channel in zip(x, y, z, strict=True):
        assert (cloud.points[channel] == (point_y, point_x)).all(-1).any()


def test_the_third_axis_may_be_the_weight(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=2, channels=3, sharing="none")
    figure = draw_cloud_3d(cloud, third_axis="weight")
    (artist,) = _find(figure, "points")
    x, y, z = (np.asarray(axis) for axis in artist._offsets3d)  # type: ignore[attr-defined]
    for point_x, point_y, weight in zip(x, y, z, strict=True):
        (where,) = np.argwhere((cloud.positions == (point_y, point_x)).all(-1))
        assert weight == abs(cloud.weights[tuple(where)])
    assert figure.axes[0].get_zlabel() == "|weight|"  # type: ignore[attr-defined]
    trace = draw_cloud_interactive([cloud], third_axis="weight").data[4]
    np.testing.assert_allclose(trace.z, np.abs(cloud.weights[..., 4]).ravel(), rtol=1e-6)
    np.testing.assert_array_equal(trace.customdata[4], (1, 1))


def test_the_density_counts_every_point_where_it_lies(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=300, dilation=(3, 6), spread=0.5)
    places, density = to_density(cloud, 12.0, cells=96)
    cell = places[1] - places[0]
    assert density.sum() * cell**2 == pytest.approx(9, rel=1e-3)  # nine slots a shape
    y, x = np.unravel_index(density.argmax(), density.shape)
    assert np.abs(cloud.slots - (places[y], places[x])).sum(-1).min() < 0.5
    near = np.abs(places + 3) < 1.5, np.abs(places - 6) < 1.5  # round the slot (-3, 6)
    assert density[np.ix_(*near)].sum() * cell**2 == pytest.approx(1, abs=0.1)
    undeformed = make_cloud(spread=0.0)
    assert np.isfinite(to_density(undeformed, 5.0)[1]).all()


def test_the_densitys_bandwidth_does_not_know_where_the_cloud_lies(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=500, kernel_size=(1, 1), spread=0.3)
    near = to_density(cloud, 6.0, cells=120)[1]
    moved = replace(cloud, positions=cloud.positions + np.array([2.0, -2.0]))
    far = to_density(moved, 6.0, cells=120)[1]  # 20 cells down, 20 to the left
    np.testing.assert_allclose(far[20:, :-20], near[:-20, 20:], atol=1e-9)
    # along either axis: the variance of the points and that of a kernel of Scott's width
    places, density = to_density(make_cloud(channels=4000, kernel_size=(1, 1), spread=0.3), 2.0, cells=200)
    for axis, sd in ((1, 0.3), (0, 0.15)):
        weight = density.sum(axis) / density.sum()
        mean = weight @ places
        assert np.sqrt(weight @ (places - mean) ** 2) == pytest.approx(
            sd * np.sqrt(1 + 4000 ** (-1 / 3)), rel=0.05
        )


def test_the_density_of_displacements_drawn_longer_is_the_true_one(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=4000, kernel_size=(3, 3), spread=0.02)
    factor = facet_factor(cloud)
    assert factor > 5
    true = 1 / (2 * np.pi * 0.02**2)  # a Gaussian's at its centre
    [surface, *_] = draw_cloud_interactive([cloud], third_axis="density").data
    assert surface.z.max() == pytest.approx(true, rel=0.25)
    [drawn] = _find(draw_cloud_3d(cloud, third_axis="density"), "density")
    assert drawn.axes.get_zlim()[1] == pytest.approx(true, rel=0.25)  # type: ignore[union-attr]


def test_a_density_is_of_all_points_and_says_no_other_number(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=10_000)
    assert "60,000 of 90,000 drawn" in _texts(draw_cloud_3d(cloud, third_axis="weight"))
    assert "drawn" not in _texts(draw_cloud_3d(cloud, third_axis="density"))


def test_the_third_axis_may_be_the_density(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    assert _find(draw_cloud_3d(cloud, third_axis="density"), "density")
    figure = draw_cloud_interactive([cloud, make_cloud("b")], third_axis="density")
    assert [type(trace).__name__ for trace in figure.data] == ["Surface", "Scatter3d"] * 2
    _, density = to_density(cloud, view_half_width([cloud]), 56)
    np.testing.assert_allclose(figure.data[0].z, density, rtol=1e-6)
    for draw in (
        draw_cloud_3d,
        lambda cloud, third_axis: draw_cloud_interactive([cloud], third_axis=third_axis),
    ):
        with pytest.raises(NameNotFoundError, match="Did you mean weight"):
            draw(cloud, third_axis="weigth")


def test_the_page_has_a_trace_per_slot_and_a_menu_of_layers(make_cloud: MakeCloud) -> None:
    first = make_cloud("stem", kernel_size=(1, 2), channels=5)
    second = make_cloud("head", channels=20, seed=1)
    figure = draw_cloud_interactive([first, second], third_axis="channel")
    assert [trace.visible for trace in figure.data] == [True] * 3 + [False] * 10
    trace = figure.data[3 + 5]
    np.testing.assert_allclose(np.stack([trace.y, trace.x], 1), second.points[:, 5], rtol=1e-6)
    np.testing.assert_array_equal(trace.z, np.arange(20))
    assert "slot 5: (0, 3)" in trace.hovertemplate
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["stem", "head"]
    assert buttons[1].args[0]["visible"] == [False] * 3 + [True] * 10
    assert "head" in buttons[1].args[1]["title.text"]
    assert len(draw_cloud_interactive([second]).layout.updatemenus) == 0


def test_the_full_version_names_kernel_and_channel(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=4, channels=6, sharing="none")
    trace = draw_cloud_interactive([cloud]).data[3]
    assert "kernel %{customdata[0]}" in trace.hovertemplate
    kernel, channel = trace.customdata[17]
    np.testing.assert_allclose((trace.y[17], trace.x[17]), cloud.positions[kernel, channel, 3], rtol=1e-6)


def test_no_clouds_make_no_page() -> None:
    with pytest.raises(ArgumentError, match="at least one cloud"):
        draw_cloud_interactive([])


@pytest.mark.parametrize("case", ["resnet101", "classifier", "full", "large kernels"])
def test_pages_stay_small_beyond_plotly_itself(make_cloud: MakeCloud, tmp_path: Path, case: str) -> None:
    clouds = {
        "resnet101": [make_cloud(f"backbone.layer3.{i}.conv2", channels=256) for i in range(33)]
        + [make_cloud("fc1", channels=2048)],
        "classifier": [make_cloud(channels=2048)],
        "full": [make_cloud(kernels=256, channels=256, sharing="none")] * 2,
        "large kernels": [make_cloud(f"{i}", kernel_size=(5, 5), channels=300) for i in range(12)],
    }[case]
    assert len(draw_cloud_interactive(clouds).to_json()) < 1_500_000
    figure = draw_cloud_interactive(clouds, third_axis="channel")
    path = write_figure(figure, tmp_path / "page.html")
    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    assert path.stat().st_size - library.stat().st_size < 1_500_000
    shown = sum(len(trace.x) for trace in figure.data if trace.mode == "markers")
    total = sum(cloud.points[..., 0].size for cloud in clouds)
    titles = [figure.layout.title.text] + [
        b.args[1]["title.text"] for m in figure.layout.updatemenus for b in m.buttons
    ]
    assert any("shapes shown" in title for title in titles) == (shown < total)
    assert shown == total or shown > 40_000


@pytest.fixture
def figure(make_cloud: MakeCloud) -> Iterator[Figure]:
    cloud = make_cloud(channels=4)
    return draw_cloud(cloud, fit_gaussians(cloud))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_file(make_cloud: MakeCloud, tmp_path: Path, kind: str) -> None:
    cloud = make_cloud(channels=4)
    for name in "ab":
        write_figure(draw_cloud(cloud, fit_gaussians(cloud)), tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_picture_is_written_in_print_resolution_over_an_older_one(figure: Figure, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    write_figure(figure, path)
    write_figure(figure, path)
    with Image.open(path) as image:
        assert image.size[0] == pytest.approx(80 / 25.4 * 300, abs=1)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_a_page_works_offline_without_the_cloud_button(make_cloud: MakeCloud, tmp_path: Path) -> None:
    path = write_figure(draw_cloud_interactive([make_cloud("a<b")]), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link)[^>]*(src|href)=", text)
    assert '"displaylogo": false' in text
    assert '"showSendToCloud": false' in text
    assert "<title>a&lt;b " in text


def test_a_figure_is_refused_in_a_kind_that_does_not_suit_it(
    figure: Figure, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=r"\.png or \.svg or \.pdf"):
        write_figure(figure, tmp_path / "a.html")
    with pytest.raises(ArgumentError, match=r"\.html"):
        write_figure(draw_cloud_interactive([make_cloud()]), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_writing_fails(figure: Figure, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="a folder that can be written"):
        write_figure(figure, tmp_path / "file" / "a.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError):
        write_figure(figure, tmp_path / "a.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "file"]
