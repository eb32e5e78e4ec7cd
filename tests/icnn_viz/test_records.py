"""Records say what matters of them, not all their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from icnn_viz.heatmaps import to_heatmap
from icnn_viz.records import PixelGradient, PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

MakeCloud = Callable[..., PositionCloud]
MakeGradient = Callable[..., PixelGradient]


def test_a_cloud_says_its_layer_kernel_and_how_far_it_moved(make_cloud: MakeCloud) -> None:
    cloud = make_cloud("net.head", kernel_size=(3, 2), dilation=(2, 3), channels=5)
    moved = replace(
        cloud, positions=np.broadcast_to(cloud.slots + np.array([3.0, 4.0]), cloud.positions.shape).copy()
    )
    assert repr(moved) == (
        "PositionCloud(layer: net.head, kernel: 3×2, dilation 2×3, shapes: 5 (one per input channel), "
        "moved: 5.000 px on average, 5.000 px at most)"
    )
    moved.positions[0, 1, 2, 0] = np.nan
    assert "not finite: 1 of 30 positions" in repr(moved)
    moved.positions[:] = np.inf
    assert "moved: –" in repr(moved)


def test_a_fit_says_what_was_fitted_and_why_not(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=60)
    cloud.positions[0, :, 4] = cloud.slots[4]
    said = repr(fit_gaussians(cloud))
    assert "slots: 8 of 9 fitted; 1 undeformed" in said
    assert "standard deviation: 0." in said
    untrained = replace(cloud, positions=np.broadcast_to(cloud.slots, cloud.positions.shape))
    assert "0 of 9 fitted; 9 undeformed" in repr(fit_gaussians(untrained))


def test_a_gradient_and_its_heatmap_say_place_class_and_size(make_gradient: MakeGradient) -> None:
    gradient = make_gradient(pixel=(9, 20), notes=("logits upsampled",))
    assert "of “bicyclist on a road” at x = 20, y = 9" in repr(gradient)
    assert "3×24×37" in repr(gradient)
    assert "notes: logits upsampled" in repr(gradient)
    said = repr(to_heatmap(gradient, "l2", smoothing=1.0))
    assert "pixel: x = 20, y = 9" in said
    assert "reduction: l2" in said
    assert "smoothed" in said
    assert max(len(said), len(repr(gradient))) < 400


def test_names_cannot_break_the_notebooks_page(make_cloud: MakeCloud, make_gradient: MakeGradient) -> None:
    evil = "<script>alert(1)</script>"
    gradient = make_gradient(evil, classes=("ground", evil))
    for record in (make_cloud(evil), fit_gaussians(make_cloud(evil)), gradient, to_heatmap(gradient)):
        assert "<script>" not in record._repr_html_()
        assert "&lt;script&gt;" in record._repr_html_()


def test_the_grid_spacing_is_read_off_the_slots(make_cloud: MakeCloud) -> None:
    assert make_cloud(kernel_size=(3, 2), dilation=(2, 5)).spacing.tolist() == [2, 5]
    assert make_cloud(kernel_size=(1, 4), dilation=(3, 2)).spacing.tolist() == [
        2,
        2,
    ]  # one row: the columns' step
    assert make_cloud(kernel_size=(1, 1), dilation=(3, 2)).spacing.tolist() == [3, 2]
    free = np.array([[0.0, 0.0], [0.3, 2.0], [5.0, 0.3], [5.0, 3.3]])  # nearest: 2.02, 2.02, 3, 3
    cloud = replace(make_cloud(kernel_size=(2, 2)), slots=free)
    np.testing.assert_allclose(cloud.spacing, (np.hypot(0.3, 2) + 3) / 2)
