"""The comparison of heatmaps: one scale, true values, nothing clipped or overlapping, whatever the image's shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_viz.figures.comparison import draw_comparison
from icnn_viz.figures.comparison_pages import draw_comparison_interactive
from icnn_viz.figures.maps import fit_scale
from icnn_viz.figures.panels import format_value
from icnn_viz.heatmaps import dark_lines, measure_heatmap, to_heatmap
from icnn_viz.records import Heatmap, PixelGradient

Check = Callable[[Figure], None]
Make = Callable[..., Any]
HEIGHT, WIDTH, PIXEL = 24, 37, (9, 20)
LONG = "irregular, snapped to slots"


@pytest.fixture
def make_pair(make_gradient: Make) -> Make:
    def make_pair(**changes: Any) -> tuple[list[PixelGradient], list[Any]]:
        gradients = [make_gradient("irregular", 0, **changes), make_gradient(LONG, 2, **changes)]
        return gradients, [to_heatmap(g) for g in gradients]

    return make_pair


def images_of(figure: Figure) -> list[Any]:
    return [image for ax in figure.axes for image in ax.get_images()]


def test_one_scale_for_all_maps_and_a_difference_centred_at_zero(make_pair: Make) -> None:
    gradients, heatmaps = make_pair()
    photo, second, first, difference = images_of(draw_comparison(gradients, heatmaps))
    np.testing.assert_array_equal(photo.get_array(), gradients[0].image)
    for shown, heatmap in zip((first, second), heatmaps, strict=True):
        np.testing.assert_array_equal(shown.get_array(), heatmap.values)
    one, other = (heatmap.values for heatmap in heatmaps)
    np.testing.assert_allclose(difference.get_array(), one / one.sum() - other / other.sum())
    raw = images_of(draw_comparison(gradients, heatmaps, difference="raw"))[-1]
    np.testing.assert_allclose(raw.get_array(), one - other)
    with pytest.raises(NameNotFoundError, match="shares or raw"):
        draw_comparison(gradients, heatmaps, difference="share")
    values = np.linspace(0, first.norm.vmax, 5)
    np.testing.assert_array_equal(first.norm(values), second.norm(values))
    np.testing.assert_allclose(first.norm(values), np.sqrt(values / first.norm.vmax))
    assert first.norm.vmin == 0
    assert first.norm.vmax >= np.quantile([h.values for h in heatmaps], 0.999)
    signed = np.array([-1, -0.25, 0, 0.25, 1]) * difference.norm.vmax
    np.testing.assert_allclose(difference.norm(signed), [0, 0.25, 0.5, 0.75, 1], atol=1e-12)


def test_gamma_one_is_linear(make_pair: Make) -> None:
    _, _, first, difference = images_of(draw_comparison(*make_pair(), gamma=1))
    assert first.norm(0.25 * first.norm.vmax) == pytest.approx(0.25)
    assert difference.norm(0.25 * difference.norm.vmax) == pytest.approx(0.625)


def test_themes_differ_in_ground_alone(make_pair: Make) -> None:
    light, dark = (draw_comparison(*make_pair(), theme=theme) for theme in ("light", "dark"))
    assert light.get_facecolor() != dark.get_facecolor()
    assert [t.get_text() for t in light.texts] == [t.get_text() for t in dark.texts]
    for a, b in zip(images_of(light), images_of(dark), strict=True):
        np.testing.assert_array_equal(a.get_array(), b.get_array())


def test_without_the_photo_no_colour_image_is_in_the_figure(make_pair: Make) -> None:
    shown = images_of(draw_comparison(*make_pair(), photo=False))
    assert [image.get_array().ndim for image in shown] == [2, 2, 2]


def test_a_cross_marks_the_pixel_in_every_panel(make_pair: Make) -> None:
    figure = draw_comparison(*make_pair())
    panels = [ax for ax in figure.axes if ax.get_images()]
    assert len(panels) == 4
    for ax in panels:
        crosses = [line for line in ax.lines if line.get_marker() == "x"]
        assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses} == {(PIXEL[1], PIXEL[0])}
        assert crosses[-1].get_color() == "#ff1f1f"


def test_row_0_lies_at_the_top_and_pixels_lie_at_their_coordinates(make_pair: Make) -> None:
    for image in images_of(draw_comparison(*make_pair())):
        assert tuple(image.get_extent()) == (-0.5, WIDTH - 0.5, HEIGHT - 0.5, -0.5)
        assert image.origin == "upper"
        assert image.axes.get_ylim() == (HEIGHT - 0.5, -0.5)
        assert image.axes.get_xlim() == (-0.5, WIDTH - 0.5)


def test_contours_enclose_half_and_nine_tenths_of_a_smooth_map(make_gradient: Make) -> None:
    gradient = make_gradient(shape=(80, 120), pixel=(30, 70))
    y, x = np.indices((80, 120))
    smooth = np.exp(-0.5 * (((y - 30) / 9) ** 2 + ((x - 70) / 14) ** 2)).astype(np.float32)
    gradients = [
        PixelGradient(**{**vars(gradient), "gradient": np.stack([smooth] * 3), "network": name})
        for name in ("a", "b")
    ]
    figure = draw_comparison(gradients, [to_heatmap(g) for g in gradients])
    panel = [ax for ax in figure.axes if ax.get_images()][1]
    areas = []
    for contour in panel.collections:
        (path,) = contour.get_paths()
        px, py = path.vertices[:, 0], path.vertices[:, 1]
        areas.append(0.5 * abs(px @ np.roll(py, 1) - py @ np.roll(px, 1)))
    blur = (0.012 * np.hypot(80, 120)) ** 2  # widens both variances
    sizes = np.sqrt((81 + blur) * (196 + blur))
    assert areas == pytest.approx([2 * np.pi * sizes * np.log(2), 2 * np.pi * sizes * np.log(10)], rel=0.04)


def test_four_measures_are_drawn_and_a_sentence_says_the_first(make_pair: Make) -> None:
    gradients, heatmaps = make_pair()
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:12, 15:30] = True
    measures = [measure_heatmap(h, object_mask=mask) for h in heatmaps]
    texts = [
        t.get_text() for t in draw_comparison(gradients, heatmaps, measures=measures, true_class="tree").texts
    ]
    for found in measures:
        assert format_value(found["area_90"]) in texts
        assert f"{found['energy_in_object']:.3f}" in texts
    assert "energy in the object (share)" in texts
    assert not any("Gini" in text for text in texts)
    shares = [f"{100 * found['energy_in_object']:.0f} %" for found in measures]
    sentence = f"irregular: {shares[0]} of its energy on the tree that holds the pixel; {LONG}: {shares[1]}."
    assert sentence in texts
    assert texts[0] == "What the logit of “bicyclist on a road” at x = 20, y = 9 depends on"
    assert texts[1].startswith("true class: tree")
    unlabelled = [t.get_text() for t in draw_comparison(gradients, heatmaps).texts]
    assert not any("energy in the object" in text for text in unlabelled)
    assert any(text.startswith("irregular: half of its energy within") for text in unlabelled)


def test_dots_lie_at_the_values_on_an_axis_from_zero(make_pair: Make) -> None:
    gradients, heatmaps = make_pair()
    measures = [measure_heatmap(heatmap) for heatmap in heatmaps]
    figure = draw_comparison(gradients, heatmaps)
    dots = [line for line in figure.artists if isinstance(line, Line2D) and line.get_marker() in ("o", "s")]
    for name in ("area_90", "radius_of_gyration"):
        second, first = (float(dot.get_xdata()[0]) for dot in dots if dot.get_gid() == name)
        axis = min(float(line.get_xdata()[0]) for line in figure.artists if _is_upright(line))
        ratio = measures[1][name] / measures[0][name]
        assert (second - axis) / (first - axis) == pytest.approx(ratio)
    assert len({dot.get_gid() for dot in dots}) == 4


def _is_upright(artist: Artist) -> bool:
    xs = list(artist.get_xdata()) if isinstance(artist, Line2D) else []
    return len(xs) == 2 and xs[0] == xs[1]


def test_networks_that_predict_different_classes_are_warned_of(make_gradient: Make) -> None:
    sure = np.ones((HEIGHT, WIDTH), np.int64)
    gradients = [
        make_gradient("irregular", 0, prediction=sure),
        make_gradient("regular", 1, prediction=0 * sure),
    ]
    names = [gradient.predicted_name for gradient in gradients]
    texts = [t.get_text() for t in draw_comparison(gradients, [to_heatmap(g) for g in gradients]).texts]
    joined = " ".join(texts)
    assert (
        f"The networks disagree here: irregular predicts “{names[0]}”, regular predicts “{names[1]}”"
        in joined
    )
    alike = [gradients[0], make_gradient("regular", 1, prediction=sure)]
    texts = [t.get_text() for t in draw_comparison(alike, [to_heatmap(g) for g in alike]).texts]
    assert "disagree" not in " ".join(texts)


def test_the_image_shows_the_object_and_what_networks_take_it_for(make_gradient: Make) -> None:
    labels, seen = (np.zeros((HEIGHT, WIDTH), np.int64) for _ in range(2))
    labels[5:12, 15:30] = labels[0:2, 0:5] = 1  # the object of the pixel, and another of its class
    seen[7:15, 12:24] = 1
    gradients = [make_gradient(name, prediction=seen) for name in ("irregular", "regular")]
    figure = draw_comparison(gradients, [to_heatmap(g) for g in gradients], true_class="rod", labels=labels)
    photo = next(ax for ax in figure.axes if ax.get_images())
    boxes = [path.get_extents().bounds for drawn in photo.collections for path in drawn.get_paths()]
    np.testing.assert_allclose(boxes[0], (14.5, 4.5, 15, 7))
    np.testing.assert_allclose(boxes[1:], [(11.5, 6.5, 12, 8)] * 2)
    texts = [t.get_text() for t in figure.texts]
    assert "true: rod" in texts
    assert sum(text.startswith(("irregular: ", "regular: ")) for text in texts) >= 2
    assert not [
        d
        for ax in draw_comparison(gradients, [to_heatmap(g) for g in gradients], photo=False).axes
        for d in ax.collections
        if ax.get_images() and ax.get_images()[0].get_array().ndim == 3
    ]


def test_signed_maps_have_zero_in_the_middle_of_diverging_colours(make_pair: Make) -> None:
    gradients, _ = make_pair(method="integrated")
    heatmaps = [to_heatmap(gradient) for gradient in gradients]
    _, second, first, difference = images_of(draw_comparison(gradients, heatmaps))
    sums = [gradient.gradient.astype(float).sum(0) for gradient in gradients]
    np.testing.assert_allclose(first.get_array(), sums[0])
    np.testing.assert_allclose(second.get_array(), sums[1])
    assert (sums[0] < 0).any()
    assert first.norm(0.0) == pytest.approx(0.5)
    assert first.norm.vmin == -first.norm.vmax
    assert first.get_cmap().name == difference.get_cmap().name == "PuOr"
    np.testing.assert_allclose(heatmaps[0].values, np.abs(sums[0]))
    shares = [part / np.abs(part).sum() for part in sums]
    np.testing.assert_allclose(difference.get_array(), shares[0] - shares[1])


def test_dark_lines_are_explained_where_they_are(make_gradient: Make) -> None:
    rng, shape = np.random.default_rng(0), (90, 140)
    plain = rng.uniform(0.5, 1.5, (3, *shape)).astype(np.float32)
    lined = plain.copy()
    lined[:, 5::16] *= 0.1  # rows alone
    gradients = [make_gradient(name, shape=shape) for name in ("irregular", "regular")]
    gradients = [replace(g, gradient=v) for g, v in zip(gradients, (plain, lined), strict=True)]
    heatmaps = [to_heatmap(gradient) for gradient in gradients]
    assert [dark_lines(heatmap) for heatmap in heatmaps] == [0, 16]
    text = " ".join(t.get_text() for t in draw_comparison(gradients, heatmaps).texts)
    assert "Dark lines every 16 (regular) pixels" in " ".join(text.split())
    assert "Dark lines" not in " ".join(
        t.get_text() for t in draw_comparison(gradients[:1], heatmaps[:1]).texts
    )
    widget = draw_comparison_interactive(gradients, heatmaps).layout.title.text.replace("<br>", " ")
    assert "every 16 (regular) pixels" in widget
    point = np.zeros(shape)
    point[30, 70] = 1
    assert (
        dark_lines(Heatmap(point, (30, 70), "point")) == dark_lines(Heatmap(0 * point, (3, 7), "none")) == 0
    )


@pytest.mark.parametrize(("rows", "columns"), [(321, 500), (240, 333), (160, 500), (113, 375)])
def test_dark_lines_of_a_resized_image_are_fractions_of_it(rows: int, columns: int) -> None:
    """A network of stride 8 sees `rows` square pixels of an image of `columns`; its gradient is carried back."""
    seen = np.random.default_rng(0).uniform(0.5, 1.5, (rows, rows)).astype(np.float32)
    seen[5::8] *= 0.1
    image = torch.zeros(1, 1, columns, columns, requires_grad=True)
    shrunk = torch.nn.functional.interpolate(image, (rows, rows), mode="bilinear", antialias=True)
    [gradient] = torch.autograd.grad((shrunk * torch.from_numpy(seen)).sum(), image)
    scale = columns / rows, columns / rows
    found = Heatmap(gradient[0, 0].numpy(), (9, 20), "regular", scale=scale)
    assert dark_lines(found) == pytest.approx(8 * columns / rows)
    assert dark_lines(replace(found, values=found.values.T)) == pytest.approx(8 * columns / rows)


@pytest.mark.parametrize(("stride", "step"), [(32, 8.0), (96, 0.0)])
def test_an_enlarged_image_has_lines_of_a_networks_strides_alone(stride: int, step: float) -> None:
    """The network sees four rows for one: no stride is 96, and to look for such ones would take seconds."""
    values = np.random.default_rng(0).uniform(0.5, 1.5, (240, 170))
    values[5 :: stride // 4] *= 0.1
    assert dark_lines(Heatmap(values, (3, 7), "regular", scale=(0.25, 0.25))) == step


def test_rows_that_are_dark_by_chance_are_no_lines() -> None:
    """Of maps of few pixels some rows are dark at one step or another."""
    rng = np.random.default_rng(0)
    for rows, columns in ((156, 77), (63, 171), (151, 104), (92, 153), (117, 61), (170, 54), (113, 113)):
        few = (rng.random((rows, columns)) < 0.02) * rng.exponential(size=(rows, columns))
        assert dark_lines(Heatmap(few, (3, 7), "few")) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_column_of_a_journal_is_tidy(count: int, assert_tidy: Check, make_pair: Make) -> None:
    gradients, heatmaps = make_pair(shape=(90, 120))
    figure = draw_comparison(gradients[:count], heatmaps[:count], width=80, true_class="tree")
    assert figure.get_figwidth() == pytest.approx(80 / 25.4)
    assert_tidy(figure)


def test_notes_say_how_the_maps_were_made(make_pair: Make) -> None:
    gradients, _ = make_pair(method="guided", notes=("logits upsampled",))
    heatmaps = [to_heatmap(g, "l2", smoothing=2) for g in gradients]
    text = " ".join(t.get_text() for t in draw_comparison(gradients, heatmaps).texts)
    for part in (
        "Euclidean norm",
        "smoothed, σ = 2 pixels",
        "logits upsampled",
        "partly an edge detector",
        "guided",
    ):
        assert part in text
    assert "by value to the power 0.5" in text


@pytest.mark.parametrize("photo", [True, False])
@pytest.mark.parametrize("shape", [(120, 160), (60, 480), (480, 90), (7, 5), (1, 3)])
def test_nothing_is_clipped_or_overlaps(
    shape: tuple[int, int], photo: bool, assert_tidy: Check, make_pair: Make
) -> None:
    gradients, heatmaps = make_pair(shape=shape)
    assert_tidy(draw_comparison(gradients, heatmaps, photo=photo, true_class="a rather long name of a class"))


def test_many_maps_and_long_names_stay_tidy(assert_tidy: Check, make_gradient: Make) -> None:
    names = [
        "irregular",
        LONG,
        "a network with a very long name that nobody could read in one line",
        "randomised",
    ]
    gradients = [make_gradient(name, seed, shape=(90, 120)) for seed, name in enumerate(names)]
    figure = draw_comparison(gradients, [to_heatmap(g) for g in gradients])
    assert len(images_of(figure)) == 6
    assert_tidy(figure)


def test_what_cannot_be_compared_is_refused(make_pair: Make, make_gradient: Make) -> None:
    gradients, heatmaps = make_pair()
    with pytest.raises(ArgumentError, match="1 or more"):
        draw_comparison([], [])
    for change, name in [
        ({"class_id": 0}, "class"),
        ({"pixel": (1, 2)}, "pixel"),
        ({"method": "guided"}, "method"),
        ({"shape": (HEIGHT, WIDTH + 1)}, "size"),
    ]:
        other = make_gradient("other", 1, **change)
        with pytest.raises(ArgumentError, match=f"not of one .*{name}"):
            draw_comparison([gradients[0], other], [heatmaps[0], to_heatmap(other)])
    with pytest.raises(ArgumentError, match="reduction"):
        draw_comparison(gradients, [heatmaps[0], to_heatmap(gradients[1], "l2")])


def test_maps_without_energy_are_drawn(assert_tidy: Check, make_pair: Make) -> None:
    gradients, _ = make_pair()
    empty = [PixelGradient(**{**vars(g), "gradient": np.zeros_like(g.gradient)}) for g in gradients]
    figure = draw_comparison(empty, [to_heatmap(g) for g in empty])
    assert "–" in [t.get_text() for t in figure.texts]
    assert_tidy(figure)


def test_the_scale_is_set_by_all_maps_not_by_one() -> None:
    faint, strong = np.full((50, 70), 0.3), np.full((50, 70), 30.0)
    assert fit_scale([faint, strong]).top == fit_scale([strong]).top >= 30
    outlier = strong.copy()
    outlier[0, 0] = 100
    scale = fit_scale([outlier])
    assert (scale.top, scale.beyond) == (32, True)
    assert not fit_scale([strong]).beyond


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.02, "−0.02"),
        (0.123456, "0.123"),
        (1234.5, "1,234"),
        (2.5e-5, "2.5·10⁻⁵"),
        (-3e7, "−3.0·10⁷"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
    ],
)
def test_format_value(value: float, text: str) -> None:
    assert format_value(value) == text
