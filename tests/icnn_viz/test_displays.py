"""KernelDisplay: made from anything, draws every view, keeps its data, shows itself in a notebook."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_core.surgery import make_irregular
from icnn_viz import KernelDisplay
from icnn_viz.displays import LAYER_VIEWS, NETWORK_VIEWS, KernelPairDisplay
from icnn_viz.displays.text_tables import most_different
from icnn_viz.figures.cloud_pages import draw_cloud_interactive
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.gaussian import fit_gaussians

MakeCloud = Callable[..., PositionCloud]


@pytest.fixture
def display(make_cloud: MakeCloud) -> KernelDisplay:
    return KernelDisplay(
        [make_cloud("net.stem", kernel_size=(3, 2)), make_cloud("net.head", depth=1, seed=1)]
    )


@pytest.fixture
def network() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, (3, 2)))
    make_irregular(network, shift=0.5)
    return network


@pytest.mark.parametrize("view", LAYER_VIEWS + NETWORK_VIEWS)
def test_every_view_is_a_figure(display: KernelDisplay, view: str) -> None:
    assert display.figure_ is None
    assert display.plot(view, theme="dark") is display
    assert isinstance(display.figure_, Figure)


def test_a_layer_is_chosen_by_index_or_pattern_and_is_the_deepest_by_default(display: KernelDisplay) -> None:
    titles = []
    for choice in ((), (0,), ("head",), ("net.s*",), (-2,)):
        figure = display.plot("qq", *choice).figure_
        assert figure is not None
        titles += [text.get_text() for text in figure.texts if text.get_text().startswith("net.")]
    assert titles == ["net.head", "net.stem", "net.head", "net.stem", "net.stem"]


def test_axes_of_ones_own_are_drawn_into(display: KernelDisplay) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert display.plot("cloud", 0, ax=left).plot("qq", ax=right).figure_ is figure
    assert len(left.collections) > 0
    assert len(right.lines) > 0
    with pytest.raises(ArgumentError, match="view field"):
        display.plot("field", ax=left)


def test_wrong_names_are_refused_with_the_nearest(display: KernelDisplay) -> None:
    with pytest.raises(NameNotFoundError, match="Did you mean layers"):
        display.plot("layer")
    with pytest.raises(NameNotFoundError, match="Did you mean net"):
        display.plot("cloud", "net.hed")
    with pytest.raises(NameNotFoundError, match="below 2"):
        display.plot("cloud", 2)
    with pytest.raises(ArgumentError, match="at least one layer"):
        KernelDisplay([])


def test_it_is_made_of_models_checkpoints_and_arrays(network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pt")
    of_model = KernelDisplay.from_model(network)
    of_file = KernelDisplay.from_checkpoint(tmp_path / "net.pt", layers=["1"])
    assert [cloud.layer for cloud in of_model.clouds] == ["0", "1"]
    np.testing.assert_array_equal(of_file.clouds[0].positions, of_model.clouds[1].positions)
    of_array = KernelDisplay.from_arrays(of_model.clouds[0].positions[0], layer="mine")
    assert of_array.clouds[0].layer == "mine"
    assert repr(of_model) == "KernelDisplay of 2 layers: 0, 1"


def test_panels_of_all_layers_hold_every_slot_of_the_largest_kernels(make_cloud: MakeCloud) -> None:
    small = [make_cloud(f"net.{number}", kernel_size=(3, 3), spread=0.1) for number in range(3)]
    figure = (
        KernelDisplay([*small, make_cloud("net.large", kernel_size=(5, 5), spread=0.1)])
        .plot("layers")
        .figure_
    )
    assert figure is not None
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert len(panels) == 4
    for ax in panels:
        assert min(*map(abs, ax.get_xlim()), *map(abs, ax.get_ylim())) > 2
    assert not [text for text in figure.texts if "out of the panel" in text.get_text()]


def test_plotlys_button_that_sends_data_away_is_gone(display: KernelDisplay) -> None:
    layout = draw_cloud_interactive(display.clouds).to_dict()["layout"]
    assert layout["modebar"]["remove"] == ["sendChartToCloud"]


def test_fitting_anew_replaces_the_gaussians(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=200)
    display = KernelDisplay([cloud])
    assert display.fit(weighted=True) is display
    np.testing.assert_array_equal(display.fits[0].mean, fit_gaussians(cloud, weighted=True).mean)


def test_the_frame_has_all_points_and_the_summary_all_layers(display: KernelDisplay) -> None:
    assert len(display.to_frame()) == 40 * 6 + 40 * 9
    assert list(display.summary()["layer"]) == ["net.stem", "net.head"]


def test_a_notebook_shows_the_layers_once_and_then_the_last_figure(display: KernelDisplay) -> None:
    assert "net.head" in display._repr_html_()
    assert "<img" not in display._repr_html_()
    page = display.plot("rose")._repr_html_()
    assert "<table" not in page
    picture = re.search(r"data:image/png;base64,([^\"]+)", page)
    assert picture is not None
    with Image.open(BytesIO(base64.b64decode(picture[1]))) as image:
        assert image.width > 400


def test_layer_names_cannot_break_the_notebooks_page(make_cloud: MakeCloud) -> None:
    assert "<script>" not in KernelDisplay([make_cloud("<script>")])._repr_html_()


def test_tables_are_computed_only_where_they_are_asked_for(
    display: KernelDisplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr("icnn_viz.statistics.claims.judge_claims", fail)  # imports what the next one breaks
    monkeypatch.setattr("icnn_viz.statistics.normality.test_normality", fail)
    tables = display.tables(seed=3)
    assert list(tables) == ["positions", "gaussians", "layers", "tests", "claims", "effects"]
    assert len(tables["positions"]) == 2 * 40 * 6 + 40 * 3
    assert len(tables["gaussians"]) == 6 + 9
    assert tables["layers"] is tables["layers"]
    assert tables["layers"]["layer"].tolist() == ["net.stem", "net.head"]
    with pytest.raises(AssertionError, match="computed"):
        _ = tables["tests"]


def test_what_moved_most_is_a_layer_with_shapes_enough_for_a_cloud(make_cloud: MakeCloud) -> None:
    clouds = [
        make_cloud(name, channels=n, spread=s)
        for name, n, s in (("a", 3, 0.9), ("b", 128, 0.2), ("c", 256, 0.1))
    ]
    assert KernelDisplay(clouds).most_moved() == 1
    assert KernelDisplay([clouds[0], make_cloud("d", channels=5, spread=0.1)]).most_moved() == 0, (
        "neither has"
    )
    lost = replace(clouds[1], positions=np.full_like(clouds[1].positions, np.nan))
    assert KernelDisplay([clouds[0], lost, clouds[2]]).most_moved() == 2


def test_a_run_draws_trajectories_and_knows_what_moved_most(make_cloud: MakeCloud) -> None:
    runs = [
        [make_cloud("a", spread=0.1 * n, seed=n), make_cloud("b", spread=0.3 * n, seed=9 + n)]
        for n in (1, 2, 3)
    ]
    display = KernelDisplay(runs[-1], steps=(10, 20, 30), snapshots=runs)
    assert display.most_moved() == 1
    assert isinstance(display.draw("trajectory", "a"), Figure)
    with pytest.raises(ArgumentError, match="snapshots"):
        KernelDisplay(runs[0]).draw("trajectory")


def test_two_networks_are_compared_by_the_layers_that_both_have(make_cloud: MakeCloud) -> None:
    first, second = (KernelDisplay([make_cloud("both", seed=n), make_cloud(f"own {n}")]) for n in (1, 2))
    pair = KernelPairDisplay(first, second, ("before", "after"))
    tables = pair.tables(seed=1)
    assert tables["layers"]["run"].tolist() == ["before", "before", "after", "after"]
    assert isinstance(pair.draw(), Figure)
    [both, *lone] = most_different(tables["comparison"])
    assert (both["layer"], both["moved"] > 0) == ("both", True)
    assert {row["layer"] for row in lone} <= {"own 1", "own 2", "None", "nan"}
    with pytest.raises(ArgumentError, match="none in common"):
        KernelPairDisplay(first, KernelDisplay([make_cloud("other")]), ("a", "b"))
