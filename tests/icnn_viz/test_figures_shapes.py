"""Figures of one layer beside the cloud: displacement field, QQ plot, one shape, trajectory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly
import pytest
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image
from scipy import stats

from icnn_core.errors import ArgumentError, DataError
from icnn_viz.figures import write
from icnn_viz.figures.field import FEWEST, RAYS, draw_field
from icnn_viz.figures.inspect import draw_shape
from icnn_viz.figures.qq import draw_qq
from icnn_viz.figures.trajectory import MAX_COMETS, draw_frames, draw_trajectory, draw_trajectory_interactive
from icnn_viz.figures.write import write_figure, write_film
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

MakeCloud = Callable[..., PositionCloud]


def _find(figure: Figure, gid: str) -> list[Artist]:
    return [artist for artist in figure.findobj() if str(artist.get_gid() or "").startswith(gid)]


def _texts(figure: Figure) -> str:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " | ".join(text.get_text().replace("\n", " ") for text in texts)


# displacement field


def test_rays_run_from_the_centre_to_the_points(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=12)
    fit = fit_gaussians(cloud)
    (rays,) = _find(draw_field(cloud, fit), "rays 5")
    segments = np.array(rays.get_segments())[..., ::-1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(segments[:, 0], np.tile(fit.mean[5], (12, 1)))
    np.testing.assert_allclose(segments[:, 1], cloud.points[:, 5])


def test_arrows_are_longer_by_the_factor_that_is_stated(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=30, dilation=(4, 4), spread=0.01)
    moved = replace(cloud, positions=cloud.positions + np.array([0.03, -0.04]))
    fit = fit_gaussians(moved)
    figure = draw_field(moved, fit)
    factor = float(re.search(r"×(\d+)", figure.axes[1].get_title(loc="left"))[1])  # type: ignore[index]
    assert factor == 30  # of 1, 2, 3, 5, 10, …: the longest that keeps 0.05 px within 0.6 of 4 px
    arrow = _find(figure, "arrow 2")[0]
    x, y = arrow.xy  # type: ignore[attr-defined]
    np.testing.assert_allclose((y, x), moved.slots[2] + factor * (fit.mean[2] - moved.slots[2]))
    assert len(re.findall(r"0\.05", _texts(figure))) == 9


def test_the_factor_keeps_unsure_centres_apart(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=12, dilation=(8, 8), spread=1.5)
    shift = np.array([0.01, 0]) - cloud.displacements.mean(0)
    cloud = replace(cloud, positions=cloud.positions + shift)  # by their arrows alone, centres could go ×200
    figure = draw_field(cloud, fit_gaussians(cloud))
    regions = [artist for artist in _find(figure, "region ") if isinstance(artist, Ellipse)]
    assert 8 / 4 < max(max(region.get_width(), region.get_height()) for region in regions) <= 2 * 0.4 * 8


def test_the_region_of_a_centre_is_hotellings(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=15, dilation=(7, 8))
    cloud = replace(cloud, positions=cloud.positions + 0.5)
    fit = fit_gaussians(cloud)
    figure = draw_field(cloud, fit)
    factor = float(re.search(r"×(\d+)", figure.axes[1].get_title(loc="left"))[1])  # type: ignore[index]
    region = next(artist for artist in _find(figure, "region 3") if isinstance(artist, Ellipse))
    t2 = 2 * 14 / 13 * stats.f.ppf(0.95, 2, 13)
    half = np.sqrt(t2 / 15 * np.linalg.eigvalsh(fit.covariance[3]))
    np.testing.assert_allclose(sorted((region.get_width(), region.get_height())), 2 * factor * half)


def test_noise_is_not_magnified(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=300, dilation=(12, 12), spread=0.1)
    figure = draw_field(cloud, fit_gaussians(cloud))
    right = figure.axes[1]
    assert right.get_title(loc="left") == "slot to centre"
    assert not _find(figure, "arrow ")
    assert "no arrow where chance would do (9 of 9 slots)" in _texts(figure)
    moved = replace(cloud, positions=cloud.positions.copy())
    moved.positions[:, :, 5] += 0.2  # one slot by far more than chance
    figure = draw_field(moved, fit_gaussians(moved))
    assert {str(arrow.get_gid()) for arrow in _find(figure, "arrow ")} == {"arrow 5"}
    assert "8 of 9 slots" in _texts(figure)


def test_both_panels_of_a_field_have_the_same_axes_and_lines_to_the_centres(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=30)
    fit = fit_gaussians(cloud)
    left, right = draw_field(cloud, fit).axes[:2]
    assert (left.get_xlim(), left.get_ylim()) == (right.get_xlim(), right.get_ylim())
    shift = next(line for line in left.lines if line.get_gid() == "shift 7")
    np.testing.assert_allclose(np.array(shift.get_data())[::-1].T, [cloud.slots[7], fit.mean[7]])


def test_few_shapes_give_a_centre_no_region(make_cloud: MakeCloud) -> None:
    for channels, drawn in ((FEWEST, 9), (FEWEST - 1, 0)):
        cloud = make_cloud(channels=channels)
        figure = draw_field(cloud, fit_gaussians(cloud))
        assert len(_find(figure, "region ")) == drawn
        assert ("from 10 shapes on" in _texts(figure)) == (not drawn)


def test_thinned_and_lost_shapes_are_counted_in_the_field(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=RAYS + 50)
    cloud.positions[0, 7, 3] = np.nan
    text = _texts(draw_field(cloud, fit_gaussians(cloud)))
    assert f"rays of {RAYS} of {RAYS + 50} shapes" in text
    assert "1 of 2,700 are not finite" in text
    gone = make_cloud()
    gone.positions[:] = np.nan
    assert not _find(draw_field(gone, fit_gaussians(gone)), "arrow")


def test_no_arrow_is_dropped_however_far_it_points(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=20, kernel_size=(2, 4), dilation=(1, 1), spread=0.05)
    far = replace(cloud, positions=cloud.positions + 4.0 * cloud.slots)
    figure = draw_field(far, fit_gaussians(far))
    low, high = sorted(figure.axes[1].get_ylim())
    for slot in range(8):
        (arrow,) = _find(figure, f"arrow {slot}")
        assert all(low < value < high for value in arrow.xy)  # type: ignore[attr-defined]


# QQ plot


def test_qq_lines_pair_sorted_distances_with_chi2_quantiles(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=25)
    (line,) = _find(draw_qq(cloud, fit_gaussians(cloud)), "slot 6")
    x, y = line.get_data()  # type: ignore[attr-defined]
    points = cloud.displacements[:, 6]
    centred = points - points.mean(0)
    distance = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(points.T)), centred)
    np.testing.assert_allclose(y, np.sort(distance))
    np.testing.assert_allclose(x, stats.chi2.ppf((np.arange(1, 26) - 0.5) / 25, 2))


def test_the_qq_band_is_the_order_statistics(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=25)
    (band,) = _find(draw_qq(cloud, fit_gaussians(cloud)), "band")
    x, y = band.get_paths()[0].vertices.T  # type: ignore[attr-defined]
    at = stats.chi2.ppf((20 - 0.5) / 25, 2)
    edges = stats.chi2.ppf(stats.beta.ppf([0.025, 0.975], 20, 6), 2)
    np.testing.assert_allclose(np.unique(y[np.isclose(x, at)].round(9)), edges)


def test_points_above_the_qq_view_are_counted(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=2000)
    cloud.positions[0, :2, 1] = 900.0
    text = _texts(draw_qq(cloud, fit_gaussians(cloud)))
    assert "2 points lie above the view" in text
    undeformed = make_cloud(spread=0.0)
    assert "undeformed" in _texts(draw_qq(undeformed, fit_gaussians(undeformed)))


# one shape


def test_a_shape_has_its_weights_as_size_and_colour(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=4, channels=6, sharing="none")
    figure = draw_shape(cloud, channel=5, kernel=2)
    order = np.argsort(-np.abs(cloud.weights[2, 5]))  # the largest lie lowest
    for discs, places in zip(_find(figure, "weights"), (cloud.slots, cloud.positions[2, 5]), strict=True):
        np.testing.assert_array_equal(np.asarray(discs.get_offsets())[:, ::-1], places[order])  # type: ignore[attr-defined]
        weights = cloud.weights[2, 5][order]
        np.testing.assert_array_equal(discs.get_array(), weights)  # type: ignore[attr-defined]
        assert discs.norm.vmin == -discs.norm.vmax == -np.abs(weights).max()  # type: ignore[attr-defined]
        sizes = discs.get_sizes()  # type: ignore[attr-defined]
        assert list(np.argsort(sizes)) == list(np.argsort(np.abs(weights)))
    (moves,) = _find(figure, "moves")
    np.testing.assert_array_equal(np.array(moves.get_segments())[:, 1, ::-1], cloud.positions[2, 5])  # type: ignore[attr-defined]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert "kernel 2, input channel 5" in _texts(figure)


def test_before_and_after_share_one_scale(make_cloud: MakeCloud) -> None:
    before, after = make_cloud(seed=1), make_cloud(seed=2)
    before = replace(before, weights=3 * before.weights)
    figure = draw_shape(after, 3, before=before)
    first, second = _find(figure, "weights")
    order = np.argsort(-before.weights[0, 3])
    np.testing.assert_array_equal(np.asarray(first.get_offsets())[:, ::-1], before.positions[0, 3][order])  # type: ignore[attr-defined]
    top = before.weights[0, 3].max()
    assert top > after.weights[0, 3].max()
    assert first.norm.vmax == second.norm.vmax == top  # type: ignore[attr-defined]
    assert first.norm.vmin == 0  # type: ignore[attr-defined]
    assert "before" in _texts(figure)


def test_weights_on_one_place_are_all_seen_and_named(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(kernels=2, channels=3, sharing="none")
    cloud.positions[1, 2, 7] = cloud.positions[1, 2, 4] = (0.3, 0.1)
    cloud.weights[1, 2, [4, 7]] = -0.9, 0.2
    figure = draw_shape(cloud, channel=2, kernel=1)
    discs = _find(figure, "weights")[1]
    assert "| 4, 7 |" in _texts(figure)
    small = np.flatnonzero(discs.get_array() == 0.2)[0]  # type: ignore[attr-defined]
    large = np.flatnonzero(discs.get_array() == -0.9)[0]  # type: ignore[attr-defined]
    assert small > large  # drawn after it
    below = _find(figure, "below zero")[1]
    assert len(below.get_offsets()) == (cloud.weights[1, 2] < 0).sum()  # type: ignore[attr-defined]


def test_no_cross_lies_under_a_number(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(
        kernel_size=(7, 7), dilation=(1, 1), kernels=2, channels=3, sharing="none", spread=0.02
    )
    figure = draw_shape(cloud, channel=2, kernel=1)
    figure.set_dpi(100)
    FigureCanvasAgg(figure).draw()
    ax = figure.axes[1]
    crosses = ax.transData.transform(cloud.slots[:, ::-1])
    for text in ax.texts:
        box = text.get_window_extent()
        assert not box.count_contains(crosses), text.get_text()


def test_magnitudes_are_not_called_weights(make_cloud: MakeCloud) -> None:
    """A table may hold the magnitudes alone of weights that share nothing."""
    cloud = make_cloud(kernels=4, channels=6, sharing="none")
    figure = draw_shape(replace(cloud, weights=np.abs(cloud.weights)))
    assert figure.axes[-1].get_ylabel() == "magnitude of the weight"
    assert _find(figure, "weights")[0].norm.vmin == 0  # type: ignore[attr-defined]
    assert draw_shape(cloud).axes[-1].get_ylabel() == "weight"


def test_a_shape_that_is_not_there_is_refused(make_cloud: MakeCloud) -> None:
    with pytest.raises(ArgumentError, match="channel 0 to 39"):
        draw_shape(make_cloud(), 40)
    with pytest.raises(ArgumentError, match="two states of one network"):
        draw_shape(make_cloud(), 4, before=make_cloud(channels=39))


def test_a_shape_with_lost_positions_is_drawn(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    cloud.positions[0, 1, 2] = np.nan
    assert "1 of 9 positions are not finite" in _texts(draw_shape(cloud, 1))


# trajectory


@pytest.fixture
def run(make_cloud: MakeCloud) -> tuple[list[PositionCloud], list[int]]:
    """Four snapshots of 5 channels that walk from their slots to where they end."""
    end = make_cloud(channels=5, spread=4.0)
    clouds = [
        replace(end, positions=end.slots + part * (end.positions - end.slots)) for part in (0, 0.2, 0.7, 1)
    ]
    return clouds, [0, 100, 250, 400]


def test_comets_follow_every_position(run: tuple[list[PositionCloud], list[int]]) -> None:
    clouds, steps = run
    figure = draw_trajectory(clouds, steps)
    (comets,) = _find(figure, "comets 2")
    segments = np.array(comets.get_segments())[..., ::-1]  # type: ignore[attr-defined]
    assert segments.shape == (3 * 5, 2, 2)
    np.testing.assert_allclose(segments[:5, 0], clouds[0].points[:, 2])
    np.testing.assert_allclose(segments[-5:, 1], clouds[-1].points[:, 2])
    widths = comets.get_linewidths()  # type: ignore[attr-defined]
    assert list(widths) == sorted(widths)
    assert widths[0] < widths[-1]
    (heads,) = _find(figure, "heads 2")
    np.testing.assert_allclose(np.asarray(heads.get_offsets())[:, ::-1], clouds[-1].points[:, 2])  # type: ignore[attr-defined]
    (centre,) = _find(figure, "centre 2")
    np.testing.assert_allclose(centre.get_ydata(), [cloud.points[:, 2, 0].mean() for cloud in clouds])  # type: ignore[attr-defined]
    assert "iterations 0 to 400, 4 snapshots" in _texts(figure)


def test_a_path_is_broken_where_it_is_not_finite_and_it_is_said(
    run: tuple[list[PositionCloud], list[int]],
) -> None:
    clouds, steps = run
    clouds[1].positions[0, 3, 2] = np.nan
    figure = draw_trajectory(clouds, steps)
    (comets,) = _find(figure, "comets 2")
    assert len(comets.get_segments()) == 3 * 5 - 2  # type: ignore[attr-defined]
    (heads,) = _find(figure, "heads 2")
    assert len(heads.get_offsets()) == 5  # type: ignore[attr-defined]
    (centre,) = _find(figure, "centre 2")
    np.testing.assert_allclose(  # all that is finite counts, in each snapshot
        centre.get_xdata(),
        [np.nanmean(cloud.points[:, 2, 1]) for cloud in clouds],  # type: ignore[attr-defined]
    )
    words = "1 of 45 paths are not finite in some snapshot and broken there"
    assert words in _texts(figure)
    assert words in draw_trajectory_interactive(clouds, steps).layout.title.text


def test_paths_that_leave_the_view_between_first_and_last_snapshot_are_counted(
    run: tuple[list[PositionCloud], list[int]],
) -> None:
    clouds, steps = run
    assert "leave the view" not in _texts(draw_trajectory(clouds, steps))
    clouds[2].positions[0, :2, 4] = 500.0
    assert "2 of 45 paths leave the view" in _texts(draw_trajectory(clouds, steps))


def test_the_paths_of_two_snapshots_can_be_seen(run: tuple[list[PositionCloud], list[int]]) -> None:
    clouds, steps = run
    (many,) = _find(draw_trajectory(clouds, steps), "comets 2")
    (few,) = _find(draw_trajectory([clouds[0], clouds[-1]], [0, 400]), "comets 2")
    assert min(few.get_linewidths()) == max(many.get_linewidths()) > 0.6  # type: ignore[attr-defined]
    assert few.get_edgecolors()[:, 3].min() > 0.6  # type: ignore[attr-defined]


def test_many_comets_are_thinned_and_it_is_said(make_cloud: MakeCloud) -> None:
    clouds = [make_cloud(channels=MAX_COMETS + 1, seed=seed) for seed in (0, 1)]
    assert f"{MAX_COMETS} of {MAX_COMETS + 1} shapes drawn" in _texts(draw_trajectory(clouds, [0, 1]))


def test_the_slider_has_a_frame_for_every_snapshot(run: tuple[list[PositionCloud], list[int]]) -> None:
    clouds, steps = run
    figure = draw_trajectory_interactive(clouds, steps)
    assert [frame.name for frame in figure.frames] == ["0", "100", "250", "400"]
    assert [mark.label for mark in figure.layout.sliders[0].steps] == ["0", "100", "250", "400"]
    for frame, cloud in zip(figure.frames, clouds, strict=True):
        (trace,) = frame.data
        np.testing.assert_allclose(np.stack([trace.y, trace.x], 1), cloud.points.reshape(-1, 2), rtol=1e-6)
    kernel, channel, slot = figure.data[0].customdata[3 * 9 + 5]
    assert (kernel, channel, slot) == (0, 3, 5)
    low, high = figure.layout.yaxis.range
    assert low > high


def test_a_page_of_a_long_run_stays_small(make_cloud: MakeCloud, tmp_path: Path) -> None:
    clouds = [make_cloud(channels=2048, seed=seed) for seed in range(30)]
    figure = draw_trajectory_interactive(clouds, range(30))
    path = write_figure(figure, tmp_path / "run.html")
    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    assert path.stat().st_size - library.stat().st_size < 1_500_000
    assert "of 2,048 shapes shown" in figure.layout.title.text


def test_snapshots_that_do_not_belong_together_are_refused(make_cloud: MakeCloud) -> None:
    for clouds, steps in (
        ([make_cloud()], [0]),
        ([make_cloud(), make_cloud()], [0]),
        ([make_cloud(), make_cloud(channels=3)], [0, 1]),
    ):
        with pytest.raises(ArgumentError, match="two or more snapshots"):
            draw_trajectory(clouds, steps)


def test_a_film_has_the_frames_on_one_scale(
    run: tuple[list[PositionCloud], list[int]], tmp_path: Path
) -> None:
    frames = list(draw_frames(*run))
    assert len({frame.axes[0].get_xlim() for frame in frames}) == 1
    assert "iteration 250 of 400" in _texts(frames[2])
    path = write_film(frames, tmp_path / "run.gif", pace=4, dpi=50)
    with Image.open(path) as film:
        assert film.n_frames == 4
        assert film.info["duration"] == 250


def test_films_of_other_kinds_are_refused(
    run: tuple[list[PositionCloud], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write.shutil, "which", lambda name: None)
    for name in ("run.mp4", "run.avi"):
        with pytest.raises(ArgumentError, match=r"\.gif"):
            write_film(draw_frames(*run), tmp_path / name)
    with pytest.raises(ArgumentError, match="frames"):
        write_film([], tmp_path / "run.gif")


def test_a_failing_ffmpeg_is_an_error_in_words(
    run: tuple[list[PositionCloud], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\ncat > /dev/null\necho no such codec >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    with pytest.raises(DataError, match="no such codec"):
        write_film(list(draw_frames(*run))[:1], tmp_path / "run.mp4", dpi=40)
    assert not list(tmp_path.glob("*.mp4"))
