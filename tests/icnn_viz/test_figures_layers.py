"""Figures of many layers: ellipses, roses, depth, heat grid; one scale, every layer named, gaps said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_viz.figures.depth import draw_depth
from icnn_viz.figures.heat import draw_heat
from icnn_viz.figures.layers import draw_layers
from icnn_viz.figures.rose import draw_rose
from icnn_viz.figures.runs import draw_runs
from icnn_viz.figures.sheet import choose_columns, distinct_names, list_names
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians, to_shapes

MakeCloud = Callable[..., PositionCloud]


def _find(figure: Figure, gid: str) -> list[Artist]:
    return [artist for artist in figure.findobj() if str(artist.get_gid() or "").startswith(gid)]


def _in(ax: Axes, gid: str) -> list[Artist]:
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def _texts(figure: Figure) -> str:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " | ".join(text.get_text().replace("\n", " ") for text in texts)


@pytest.fixture
def clouds(make_cloud: MakeCloud) -> list[PositionCloud]:
    """Three layers of a network: 3×3 at dilation (2, 3), 3×2, and one that was never trained."""
    return [
        make_cloud("net.a.conv", depth=0, channels=300),
        make_cloud("net.b.conv", depth=1, kernel_size=(3, 2), dilation=(1, 1), spread=0.2, seed=1),
        make_cloud("net.c", depth=2, spread=0.0),
    ]


@pytest.mark.parametrize(("unit", "divisor"), [("spacings", (2, 3)), ("pixels", (1, 1))])
def test_layers_share_their_axes_and_come_in_order(
    clouds: list[PositionCloud], unit: str, divisor: tuple[int, int]
) -> None:
    fits = [fit_gaussians(cloud) for cloud in clouds]
    figure = draw_layers(clouds, fits, unit=unit)
    panels = figure.axes[:3]
    assert [ax.get_title(loc="left") for ax in panels] == ["a.conv", "b.conv", "c"]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    ellipses = [artist for artist in panels[0].patches if isinstance(artist, Ellipse)]
    assert len(ellipses) == 18
    found = {str(e.get_gid()): e for e in ellipses}["slot 5, 2 sigma"]
    np.testing.assert_allclose(np.asarray(found.get_center())[::-1], fits[0].mean[5] / divisor)
    scaled = fits[0].covariance[5] / np.outer(divisor, divisor)
    lengths = sorted((found.get_width() / 4, found.get_height() / 4))
    np.testing.assert_allclose(np.square(lengths), np.linalg.eigvalsh(scaled))
    assert not [artist for artist in panels[2].patches if isinstance(artist, Ellipse)]
    assert "undeformed" in _texts(figure)
    assert ("grid spacings" in _texts(figure)) == (unit == "spacings")


def test_a_layer_that_ran_away_does_not_flatten_the_others(make_cloud: MakeCloud) -> None:
    clouds = [make_cloud(f"layer{i}", depth=i, seed=i) for i in range(5)]
    clouds.append(make_cloud("runaway", depth=5, spread=80.0))
    figure = draw_layers(clouds, [fit_gaussians(cloud) for cloud in clouds])
    assert figure.axes[0].get_xlim()[1] < 4
    assert "reach out of the panel: runaway" in _texts(figure)


def test_kernels_of_each_size_have_a_key_of_their_own(make_cloud: MakeCloud) -> None:
    sizes = [(3, 3), (5, 4), (3, 3), (1, 7)]
    clouds = [make_cloud(f"net.{n}", kernel_size=size, depth=n, channels=20) for n, size in enumerate(sizes)]
    fits = [fit_gaussians(cloud) for cloud in clouds]
    for figure in (draw_layers(clouds, fits), draw_rose(clouds, fits), draw_runs(clouds, fits, fits)):
        titles = [text.get_text() for text in figure.texts]
        assert [title for title in titles if title.startswith("slot")] == [
            "slot of 5×4",
            "slot of 3×3",
            "slot of 1×7",
        ]
    alike = draw_layers(clouds[::2], fits[::2])
    assert [text.get_text() for text in alike.texts].count("slot") == 1


@pytest.mark.parametrize("count", [1, 2, 5, 17])
def test_any_number_of_layers_fits_a_page(make_cloud: MakeCloud, count: int) -> None:
    clouds = [make_cloud(f"backbone.layer{i}.conv2", depth=i, channels=8) for i in range(count)]
    fits = [fit_gaussians(cloud) for cloud in clouds]
    for figure in (draw_layers(clouds, fits), draw_rose(clouds, fits)):
        assert len(figure.axes) == count
        assert figure.get_figwidth() * 25.4 == pytest.approx(80 if count == 1 else 170)
        for ax in figure.axes:
            box = ax.get_position()
            assert box.x0 >= 0
            assert box.x1 <= 1
            assert box.y1 <= 1


def test_no_layers_and_unknown_units_are_refused(clouds: list[PositionCloud]) -> None:
    with pytest.raises(ArgumentError, match="draw_layers"):
        draw_layers([], [])
    with pytest.raises(ArgumentError, match="'inches'"):
        draw_layers(clouds, [fit_gaussians(cloud) for cloud in clouds], unit="inches")


def test_spokes_lie_along_the_major_axis_on_the_slots_side(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=4000, spread=0.6, dilation=(2, 2))  # sd 0.6 down, 0.3 across
    figure = draw_rose([cloud], [fit_gaussians(cloud)])
    for slot, sign in ((1, -1), (7, 1)):  # above and below the centre
        (spoke,) = _find(figure, f"spoke {slot}")
        x, y = spoke.get_data()  # type: ignore[attr-defined]
        assert (x[0], y[0]) == (0, 0)
        assert y[1] == pytest.approx(2.0 * sign, rel=0.1)
        assert abs(x[1]) < 0.2
    (centre,) = _find(figure, "spoke 4")
    y = centre.get_data()[1]  # type: ignore[attr-defined]
    assert y[0] == -y[1]
    assert len(_find(figure, "dot ")) == 8


def test_a_rose_of_an_undeformed_layer_says_so(clouds: list[PositionCloud]) -> None:
    figure = draw_rose(clouds, [fit_gaussians(cloud) for cloud in clouds])
    assert "undeformed" in _texts(figure)
    assert len(_find(figure, "spoke ")) == 9 + 6


def test_two_runs_are_solid_and_dashed_in_one_panel(make_cloud: MakeCloud) -> None:
    clouds = [make_cloud("a", dilation=(2, 4)), make_cloud("b", depth=1, seed=5)]
    first = [fit_gaussians(cloud) for cloud in clouds]
    second = [fit_gaussians(make_cloud(cloud.layer, dilation=cloud.dilation, seed=9)) for cloud in clouds]
    figure = draw_runs(clouds, first, second, names=("old.pt", "new.pt"))
    assert "solid: old.pt, dashed: new.pt" in _texts(figure)
    panel = figure.axes[0]
    ellipses = {str(artist.get_gid()): artist for artist in panel.patches if isinstance(artist, Ellipse)}
    assert len(ellipses) == 18
    for run, fits in enumerate((first, second)):
        centre = np.asarray(ellipses[f"run {run} slot 5"].get_center())[::-1]
        np.testing.assert_allclose(centre, fits[0].mean[5] / (2, 4))
    assert ellipses["run 0 slot 5"].get_linestyle() != ellipses["run 1 slot 5"].get_linestyle()
    move = _find(figure, "move 5")[0]
    np.testing.assert_allclose(move.get_ydata(), [fits[0].mean[5, 0] / 2 for fits in (first, second)])  # type: ignore[attr-defined]


def test_runs_that_do_not_match_are_refused(make_cloud: MakeCloud) -> None:
    one, other = make_cloud(), make_cloud(kernel_size=(3, 2))
    with pytest.raises(ArgumentError, match="same layers of two runs"):
        draw_runs([one], [fit_gaussians(one)], [fit_gaussians(other)])
    with pytest.raises(ArgumentError, match="1 and 0 layers"):
        draw_runs([one], [fit_gaussians(one)], [])


def _layers() -> pd.DataFrame:
    rows = [
        {
            "layer": f"net.block{depth}",
            "depth": depth,
            "measure": measure,
            "estimate": value,
            "low": low,
            "high": high,
        }
        for measure, values in {
            "elongation": [(1.5, 1.4, 1.7), (2.0, 1.8, 2.1), (None, None, None)],
            "spread": [(0.2, 0.1, 0.3), (0.4, 0.3, 0.6), (None, None, None)],
        }.items()
        for depth, (value, low, high) in enumerate(values)
    ]
    return (
        pd.DataFrame(rows)
        .astype({"estimate": "Float64", "low": "Float64", "high": "Float64"})
        .sample(frac=1, random_state=0)
    )


def test_depth_shows_estimates_with_their_intervals_in_order() -> None:
    figure = draw_depth(_layers())
    upper, lower = figure.axes
    for ax, expected in ((upper, [(1.4, 1.7), (1.8, 2.1)]), (lower, [(0.1, 0.3), (0.3, 0.6)])):
        (bars,) = ax.containers[0].lines[2]
        ends = [tuple(segment[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(ends, expected)
    assert [text.get_text() for text in lower.get_xticklabels()] == ["block0", "block1", "block2"]
    (crossed,) = _find(upper, "unmeasured")  # type: ignore[arg-type]
    assert list(crossed.get_xdata()) == [2]  # type: ignore[attr-defined]
    assert "no spread to measure: block2" in _texts(figure)


def test_depth_states_the_trend() -> None:
    trend = pd.DataFrame(
        [
            {
                "measure": "elongation",
                "state": "ok",
                "kendall": -0.5,
                "kendall_low": -0.8,
                "kendall_high": 0.1,
            },
            {"measure": "spread", "state": "too few layers", "kendall": None},
        ]
    )
    figure = draw_depth(_layers(), trend)
    assert "Kendall's τ −0.50 [−0.80, +0.10]" in _texts(figure)
    assert "no trend: too few layers" in _texts(figure)


def test_depth_refuses_a_table_without_the_measures() -> None:
    with pytest.raises(ArgumentError, match="spread"):
        draw_depth(_layers().query("measure == 'elongation'"))


def test_heat_puts_each_value_where_its_slot_lies_and_hatches_gaps(clouds: list[PositionCloud]) -> None:
    fits = [fit_gaussians(cloud) for cloud in clouds]
    figure = draw_heat(clouds, fits, "sd_major")
    tiles = figure.axes[:3]
    assert [ax.get_title() for ax in tiles] == ["a.conv", "b.conv", "c"]
    assert [len(_in(ax, "cell")) for ax in tiles] == [9, 6, 0]
    assert [len(_in(ax, "missing")) for ax in tiles] == [0, 0, 9]
    values = to_shapes(fits[1])["sd_major"].to_numpy(dtype=float)
    written = {tuple(np.floor(text.get_position()).astype(int)): text.get_text() for text in tiles[1].texts}
    for slot, value in enumerate(values):  # 3 rows of 2, taps row-major: (x, y) of the cell
        assert written[slot % 2, slot // 2] == f"{value:.2f}"
    assert figure.axes[3].get_xlabel() == "sd major (px)"
    for measure in ("var_y", "var_x", "cov_yx", "area"):
        assert draw_heat(clouds, fits, measure).axes[3].get_xlabel().endswith("(px²)")


def test_colours_of_elongation_begin_at_one(clouds: list[PositionCloud]) -> None:
    figure = draw_heat(clouds[:1], [fit_gaussians(clouds[0])])
    assert figure.axes[1].get_xlim()[0] == 1.0


def test_a_value_that_ran_away_does_not_flatten_the_colours(clouds: list[PositionCloud]) -> None:
    fits = [fit_gaussians(cloud) for cloud in clouds[:2]]
    usual = float(max(to_shapes(fit)["elongation"].drop(4).max() for fit in fits))
    fits[0].covariance[4] = np.diag([900.0**2, 1.0])
    figure = draw_heat(clouds[:2], fits)
    assert figure.axes[2].get_xlim()[1] == pytest.approx(usual, rel=0.03)
    assert "| 900 |" in _texts(figure)


def test_an_interval_that_ran_away_is_cut_and_named() -> None:
    layers = _layers()
    layers.loc[(layers["layer"] == "net.block1") & (layers["measure"] == "elongation"), "high"] = 5000.0
    figure = draw_depth(layers)
    assert figure.axes[0].get_ylim() == pytest.approx((1.0 - 0.03, 2.0 + 0.12))
    assert "bars reach above the panel: block1" in _texts(figure)
    assert "above the panel" not in _texts(draw_depth(_layers()))


def test_a_spoke_that_ran_away_ends_at_the_rim(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=200)
    fit = fit_gaussians(cloud)
    fit.covariance[2] = np.diag([100.0, 0.01])
    figure = draw_rose([cloud], [fit])
    (spoke,) = _find(figure, "spoke 2")
    assert np.hypot(*np.array(spoke.get_data())[:, 1]) < 4  # type: ignore[attr-defined]
    assert "spokes that end at the rim are longer (1)" in _texts(figure)


def test_layers_may_be_magnified(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(spread=0.02)
    fit = fit_gaussians(cloud)
    figure = draw_layers([cloud], [fit], magnify=10)
    ellipse = next(a for a in _find(figure, "slot 8, 1 sigma") if isinstance(a, Ellipse))
    centre = (cloud.slots[8] + 10 * (fit.mean[8] - cloud.slots[8])) / (2, 3)
    np.testing.assert_allclose(np.asarray(ellipse.get_center())[::-1], centre)
    scaled = 100 * fit.covariance[8] / np.outer((2, 3), (2, 3))
    lengths = sorted((ellipse.get_width() / 2, ellipse.get_height() / 2))
    np.testing.assert_allclose(np.square(lengths), np.linalg.eigvalsh(scaled))
    assert "displacements ×10" in _texts(figure)


def test_heat_refuses_an_unknown_measure(clouds: list[PositionCloud]) -> None:
    with pytest.raises(NameNotFoundError, match="Did you mean elongation"):
        draw_heat(clouds[:1], [fit_gaussians(clouds[0])], "elongatoin")


def test_names_in_panels_drop_what_all_share() -> None:
    assert distinct_names(["backbone.a.conv1", "backbone.a.conv2"]) == ["conv1", "conv2"]
    assert distinct_names(["backbone.a", "backbone.a.b"]) == ["a", "b"]
    assert distinct_names(["fc1"]) == ["fc1"]
    assert distinct_names(["a.b", "c.b"]) == ["a.b", "c.b"]
    both = ["encoder.stages.0.conv", "decoder.stages.0.conv", "decoder.stages.10.conv"]
    assert distinct_names(both, 16) == ["e…stages.0.conv", "d…stages.0.conv", "stages.10.conv"]
    assert distinct_names(both, 30) == distinct_names(both)
    assert list_names(["a", "b", "c"]) == "a, b, c"
    assert list_names(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    names = [f"backbone.layer3.{n}.conv2" for n in (0, 10)] + ["backbone.layer1.0.conv2", "classifier.fc1"]
    short = ["layer3.0.conv2", "layer3.10.conv2", "layer1.0.conv2", "fc1"]  # no number stands alone
    assert distinct_names(names) == short
    assert [choose_columns(n) for n in (1, 2, 3, 5, 40, 200)] == [1, 2, 2, 3, 8, 8]
