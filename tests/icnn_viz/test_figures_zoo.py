"""Zoo, single shapes, strip and histogram: which shapes, where their weights lie, what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from icnn_core.errors import ArgumentError
from icnn_viz.displays.drawings import KernelOptions, draw_views
from icnn_viz.displays.kernel_pair import KernelPairDisplay
from icnn_viz.displays.kernels import KernelDisplay
from icnn_viz.displays.suited import default_views, left_out, suiting
from icnn_viz.displays.text_tables import most_different
from icnn_viz.figures.histogram import draw_histogram
from icnn_viz.figures.sheet import group_names
from icnn_viz.figures.strip import MOST_COLUMNS, draw_strip
from icnn_viz.figures.zoo import draw_single_shapes, draw_zoo, most_changed
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.bootstrap import bootstrap_layers
from icnn_viz.statistics.depth import in_spacings
from icnn_viz.statistics.gaussian import fit_gaussians

MakeCloud = Callable[..., PositionCloud]


def _find(figure: Figure, gid: str) -> list[Artist]:
    return [artist for artist in figure.findobj() if str(artist.get_gid() or "").startswith(gid)]


def _texts(figure: Figure) -> str:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " | ".join(text.get_text().replace("\n", " ") for text in texts)


@pytest.fixture
def free(make_cloud: MakeCloud) -> PositionCloud:
    """26 positions of 30 channels anywhere in a box of 17×17."""
    rng = np.random.default_rng(3)
    positions = rng.uniform(-8, 8, size=(1, 30, 26, 2))
    return PositionCloud("dw", 0, (17, 17), (1, 1), "channel", positions.mean((0, 1)), positions,
                         rng.uniform(0, 1, size=(1, 30, 26)), regular=False)  # fmt: skip


def test_shapes_that_changed_most_come_first(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=3, channels=5, sharing="none", spread=0.0)
    cloud.weights[:] = 1.0
    cloud.positions[2, 3, 0] += (3.0, 4.0)  # 5 px
    cloud.positions[1, 4] += (0.6, 0.8)  # 9 times 1 px
    cloud.positions[0, 1, 2] += (0.0, 9.0)
    cloud.weights[0, 1, 2] = -0.5  # 4.5, whatever the sign
    cloud.positions[0, 0, 0] = np.nan
    chosen = most_changed(cloud, 15)
    assert chosen[:3] == [(1, 4), (2, 3), (0, 1)]
    assert chosen[-1] == (0, 0)
    assert len(chosen) == 15
    titles = _texts(draw_zoo(cloud, count=3, scale="true"))
    assert "kernel 1, ch 4 · 1.00 px | " in titles
    assert "3 of 15 shapes" in titles.replace(" | ", " ")  # a small sheet has them in two lines


def test_a_glyph_has_discs_where_weights_lie_hollow_below_zero(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=4, channels=7, sharing="none")
    figure = draw_zoo(cloud)
    glyphs = _find(figure, "weights")
    assert len(glyphs) == 24
    kernel, channel = most_changed(cloud)[0]
    weights, places = cloud.weights[kernel, channel], cloud.positions[kernel, channel]
    order = np.argsort(-np.abs(weights))
    glyph = glyphs[0]
    np.testing.assert_allclose(np.asarray(glyph.get_offsets())[:, ::-1], places[order])  # type: ignore[attr-defined]
    sizes = glyph.get_sizes() - 1.5  # type: ignore[attr-defined]
    np.testing.assert_allclose(sizes / sizes[0], np.abs(weights[order] / weights[order][0]))
    hollow = np.isclose(glyph.get_facecolors()[:, :3], 1.0).all(1)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(hollow, weights[order] < 0)
    assert "hollow: below zero" in _texts(figure)
    assert "hollow" not in _texts(draw_zoo(make_cloud()))


def test_small_displacements_of_a_zoo_are_drawn_longer(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(dilation=(12, 12), spread=0.1)
    assert "displacements ×" in _texts(draw_zoo(cloud))
    assert "displacements ×" not in _texts(draw_zoo(cloud, scale="true"))


def test_single_shapes_stand_in_a_row_on_one_scale(make_cloud: MakeCloud) -> None:
    options = {"channels": 1, "sharing": "layer"}
    clouds = [
        make_cloud(f"net.{n}", dilation=(d, d), seed=n, depth=n, **options) for n, d in enumerate((1, 4, 2))
    ]
    figure = draw_single_shapes(clouds)
    panels = [ax for ax in figure.axes if _find_in(ax, "weights")]
    assert [ax.get_title().splitlines()[0] for ax in panels] == ["net.0", "net.1", "net.2"]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    moves = np.array(_find_in(panels[1], "moves")[0].get_segments())[..., ::-1]  # type: ignore[attr-defined]
    order = np.argsort(-clouds[1].weights[0, 0])
    np.testing.assert_allclose(moves[:, 0], clouds[1].slots[order] / 4)
    np.testing.assert_allclose(moves[:, 1], clouds[1].points[0][order] / 4)
    with pytest.raises(ArgumentError, match="draw_zoo"):
        draw_single_shapes([make_cloud()])


def _find_in(ax: Artist, gid: str) -> list[Artist]:
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def test_views_that_say_nothing_are_left_out_and_it_is_said(
    free: PositionCloud, make_cloud: MakeCloud
) -> None:
    single = make_cloud("one", channels=1, sharing="layer")
    display = KernelDisplay([free, single, make_cloud("many", kernel_size=(5, 4))])
    assert suiting("qq", display.clouds) == [2]
    views = default_views(display.clouds)
    assert views == ["strip", "cloud", "histogram", "zoo", "3d"]
    stems = [drawing.stem for drawing in draw_views(display, views, KernelOptions())]
    assert stems == ["strip", "many.cloud", "dw.histogram", "many.histogram", "shapes", "dw.zoo", "many.zoo",
                     "clouds", "dw.3d", "one.3d", "many.3d"]  # fmt: skip
    assert left_out(["zoo", "cloud", "qq"], display.clouds) == [
        "Left out: cloud, qq of dw (no regular places).",
        "Left out: cloud, qq of one (one shape alone).",
    ]
    assert default_views([free]) == ["histogram", "zoo", "3d"]
    with pytest.raises(ArgumentError, match="no regular places"):
        display.draw("field", 0)
    with pytest.raises(ArgumentError, match="no regular places"):
        KernelDisplay([free]).draw("rose")
    assert _find(display.draw("cloud", 0), "profile")  # the histogram instead
    assert "The shape of each layer" in _texts(display.draw("cloud", 1))


def test_a_histogram_counts_all_positions_and_their_weights(free: PositionCloud) -> None:
    figure = draw_histogram(free, half_width=9.0)
    cells = [np.asarray(image.get_array()) for image in _find(figure, "cells")]  # type: ignore[attr-defined]
    area = (18.0 / len(cells[0])) ** 2
    for values in cells:
        assert values.sum() * area == pytest.approx(100.0)
    inner = np.hypot(*np.moveaxis(free.points, -1, 0)) <= 9.0
    for mass, name in ((np.ones_like(inner), "positions"), (free.point_weights, "weighted")):
        (stairs,) = _find(figure, f"profile {name}")
        values, edges, _ = stairs.get_data()  # type: ignore[attr-defined]
        inside = float(values @ np.diff(edges))
        assert inside == pytest.approx(100 * mass[inner].sum() / mass.sum())
        assert values[0] * 9 / 24 == pytest.approx(
            100 * mass[np.hypot(*np.moveaxis(free.points, -1, 0)) < 9 / 24].sum() / mass.sum()
        )
    assert "half of the positions lie within" in _texts(figure)


def test_the_zoo_of_free_positions_is_ordered_by_weight_and_has_no_lines(free: PositionCloud) -> None:
    assert most_changed(free, 1) == [(0, int(free.weights[0].sum(-1).argmax()))]
    figure = draw_zoo(free)
    assert not _find(figure, "moves")
    assert "px: the farthest" not in _texts(figure)


def _strip(clouds: list[PositionCloud]) -> Figure:
    table = in_spacings(bootstrap_layers(clouds, resamples=40), clouds)
    return draw_strip(clouds, [fit_gaussians(cloud) for cloud in clouds], table)


def test_a_strip_has_a_column_a_layer_in_grid_spacings(make_cloud: MakeCloud) -> None:
    dilations = (1, 2, 2, 12)
    clouds = [
        make_cloud(f"net.layer{n}", dilation=(d, d), spread=0.3 * d, depth=n, seed=n, channels=60)
        for n, d in enumerate(dilations)
    ]
    clouds.append(make_cloud("net.still", depth=4, spread=0.0, dilation=(12, 12)))
    figure = _strip(clouds)
    assert len([ax for ax in figure.axes if ax.get_gid() == "shape"]) == 5
    spread = next(ax for ax in figure.axes if ax.get_gid() == "spread")
    points = next(line for line in spread.lines if line.get_gid() == "points")
    values = np.array(points.get_ydata(), dtype=float)
    assert len(values) == 4
    np.testing.assert_allclose(values, 0.3 / 2**0.5, rtol=0.15)  # the same in all, whatever the dilation
    assert np.ptp(values) < 0.06
    assert all(spread.get_ylim()[0] < value < spread.get_ylim()[1] for value in values)
    assert len(next(line for line in spread.lines if line.get_gid() == "unmeasured").get_xdata()) == 1
    moved = next(ax for ax in figure.axes if ax.get_gid() == "moved")
    assert moved.patches[4].get_height() == 0  # type: ignore[attr-defined]
    bands = [(box.get_x() + 0.5, box.get_width()) for box in _find(figure, "dilation")]  # type: ignore[attr-defined]
    assert bands == [(0, 1), (1, 2), (3, 2)]


def test_wide_ellipses_of_a_strip_are_whole(make_cloud: MakeCloud) -> None:
    figure = _strip(
        [make_cloud("net.wide", spread=1.9, channels=60), make_cloud("net.near", spread=0.2, channels=60)]
    )
    for ax in (ax for ax in figure.axes if ax.get_gid() == "shape"):
        assert len(ax.patches) == 9
        for ellipse in ax.patches:
            inside = ax.transAxes.inverted().transform_bbox(ellipse.get_window_extent())
            assert inside.x0 >= 0
            assert inside.y0 >= 0
            assert inside.x1 <= 1
            assert inside.y1 <= 1


@pytest.mark.parametrize("count", [1, 2, 35])
def test_a_strip_of_any_number_of_layers_fits_the_page(make_cloud: MakeCloud, count: int) -> None:
    clouds = [make_cloud(f"net.{n}.conv", depth=n, channels=6) for n in range(count)]
    figure = _strip(clouds)
    assert figure.get_figwidth() * 25.4 == pytest.approx(80 if count <= 6 else 170)
    rows = {round(ax.get_position().y0, 4) for ax in figure.axes if ax.get_gid() == "shape"}
    assert len(rows) == -(-count // MOST_COLUMNS)
    for ax in figure.axes:
        box = ax.get_position()
        assert box.x0 >= 0
        assert box.x1 <= 1
        assert box.y0 >= 0
        assert box.y1 <= 1


def test_single_shapes_have_a_strip_of_displacements(make_cloud: MakeCloud) -> None:
    clouds = [make_cloud(f"net.{n}", channels=1, sharing="layer", depth=n, seed=n) for n in range(3)]
    figure = _strip(clouds)
    displaced = next(ax for ax in figure.axes if ax.get_gid() == "displacement")
    points = next(line for line in displaced.lines if line.get_gid() == "points")
    means = [np.hypot(*cloud.displacements[0].T).mean() / 6**0.5 for cloud in clouds]
    np.testing.assert_allclose(np.array(points.get_ydata(), dtype=float), means)
    assert not _find(figure, "elongation")


def test_layers_of_a_strip_are_not_cut_to_one_name(make_cloud: MakeCloud) -> None:
    """The parts that tell them apart stand before a tail that alone fills the room."""
    tail = "intermediate.depthwise.dwconv"
    clouds = [make_cloud(layer=f"{stage}.{tail}") for stage in ("encoder", "decoder")]
    clouds += [make_cloud(layer=f"{stage}.{part}.7.{tail}") for stage in ("head", "neck") for part in "ab"]
    written = [text.get_text() for text in _strip(clouds).texts if "dwconv" in text.get_text()]
    assert len(set(written)) == len(written) == 6


def test_a_strip_names_runs_of_layers() -> None:
    names = [f"layer3.{n}.conv2" for n in range(11)] + ["layer4.0.conv2", "layer4.1.conv2", "fc1"]
    assert group_names(names) == [
        ("layer3", [str(n) for n in range(11)]),
        ("layer4", ["0", "1"]),
        ("", ["fc1"]),
    ]
    mixed = group_names(["a.0.conv1", "a.1.conv1", "a.0.conv2", "a.1.conv2"])
    assert mixed == [("a conv1", ["0", "1"]), ("a conv2", ["0", "1"])]


def test_layers_without_measures_are_refused(make_cloud: MakeCloud) -> None:
    cloud = make_cloud("b", channels=6)
    table = bootstrap_layers([make_cloud("a", channels=6)], resamples=5)
    with pytest.raises(ArgumentError, match="got b"):
        draw_strip([cloud], [fit_gaussians(cloud)], table)


def test_lengths_in_spacings_make_layers_compare(make_cloud: MakeCloud) -> None:
    clouds = [make_cloud("a", dilation=(2, 8), channels=20)]
    table = bootstrap_layers(clouds, resamples=20)
    scaled = in_spacings(table, clouds)
    by = dict(iter(table.groupby("measure")))
    for name, group in scaled.groupby("measure"):
        factor = 1.0 if name == "elongation" else 4.0
        columns = ["estimate", "low", "high"]
        np.testing.assert_allclose(
            group[columns].astype(float) * factor, by[name][columns].astype(float), rtol=1e-12
        )
    assert replace(clouds[0], regular=False).spacing is not None


def test_single_shapes_of_two_networks_are_compared_by_their_centres(make_cloud: MakeCloud) -> None:
    first = make_cloud("one", channels=1, sharing="layer")
    second = replace(first, positions=first.positions.copy())
    second.positions[0, 0, 3] += (0.03, -0.04)
    pair = KernelPairDisplay(KernelDisplay([first]), KernelDisplay([second]), ("a", "b"))
    (row,) = most_different(pair.tables()["comparison"])
    assert (row["slot"], row["layer"]) == (3, "one")
    assert row["moved"] == pytest.approx(0.05)


def test_two_runs_that_hardly_moved_are_drawn_longer(make_cloud: MakeCloud) -> None:
    one, two = (make_cloud("net", dilation=(12, 12), spread=0.1, seed=seed) for seed in (0, 1))
    figure = KernelPairDisplay(KernelDisplay([one]), KernelDisplay([two]), ("a", "b")).draw()
    name, _, times = figure.axes[0].get_title(loc="left").partition(" ×")
    factor = float(times)
    assert name == "net"
    fits = [fit_gaussians(cloud) for cloud in (one, two)]
    spans = [
        (np.abs(fit.mean - one.slots) + 2 * np.sqrt(fit.covariance.diagonal(0, 1, 2))) / 12 for fit in fits
    ]
    assert 0.2 < factor * max(span.max() for span in spans) <= 0.42  # of a spacing: slots keep apart
    place = next(a for a in _find(figure, "run 1 slot 5") if hasattr(a, "get_center"))
    moved = factor * (fit_gaussians(two).mean[5] - two.slots[5]) + two.slots[5]
    np.testing.assert_allclose(np.asarray(place.get_center())[::-1], moved / 12)  # type: ignore[attr-defined]


@pytest.mark.parametrize("shapes", [2, 3])
def test_words_of_a_small_zoo_stay_clear_of_its_key(
    make_cloud: MakeCloud, assert_tidy: Callable[[Figure], None], shapes: int
) -> None:
    kind = {"kernel_size": (7, 7), "kernels": shapes, "channels": 1, "sharing": "none"}
    cloud = make_cloud("stages.0.dwconv", **kind, spread=0.05)
    figure = draw_zoo(cloud)
    assert_tidy(figure)
    text = " ".join(text.get_text() for text in figure.texts)
    assert f"{shapes} kernels × 1 channel, 7×7" in text
    assert "most displacement × |weight| first" in text
