"""Colours that can be told apart, themes that stay inside their context, names that fit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.spatial.distance import pdist

from icnn_core.errors import NameNotFoundError
from icnn_viz.figures.clouds import draw_cloud
from icnn_viz.figures.screen import to_colour_stops
from icnn_viz.figures.style import THEMES, get_look, luminance, shorten, slot_colours, text_on, use_theme
from icnn_viz.figures.write import write_figure
from icnn_viz.statistics.gaussian import fit_gaussians

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
_VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def _slots(rows: int, columns: int, dilation: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    v, u = np.indices((rows, columns)).reshape(2, -1)
    return np.stack([(v - (rows - 1) / 2) * dilation[0], (u - (columns - 1) / 2) * dilation[1]], 1)


def _oklab(colours: list[str], vision: np.ndarray) -> np.ndarray:
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ vision.T, 0, 1)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.793617785, -0.0040720468],
            [1.9779984951, -2.428592205, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.808675766],
        ]
    )
    return np.cbrt(linear @ to_cones.T) @ to_lab.T


@pytest.mark.parametrize(
    ("vision", "least"),
    [("normal", 0.19), ("protanopia", 0.10), ("deuteranopia", 0.10), ("tritanopia", 0.085)],
)
def test_nine_slots_can_be_told_apart(vision: str, least: float) -> None:
    lab = _oklab(slot_colours(_slots(3, 3)), _VISIONS[vision])
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1)
    assert distance[np.triu_indices(9, 1)].min() >= least


@pytest.mark.parametrize("theme", THEMES)
def test_slot_colours_stand_out_from_both_grounds(theme: str) -> None:
    ground = luminance(get_look(theme).background) + 0.05
    for colour in slot_colours(_slots(3, 3)):
        light, dark = sorted([luminance(colour) + 0.05, ground], reverse=True)
        assert light / dark > 2.0
        assert abs(luminance(text_on(colour)) - luminance(colour)) > 0.17


def test_a_slot_keeps_its_colour_whatever_the_dilation() -> None:
    assert slot_colours(_slots(3, 3)) == slot_colours(_slots(3, 3, (12, 4)))
    assert slot_colours(_slots(3, 3))[4] == slot_colours(_slots(5, 5))[12] == "#808080"
    # the corners of a 3×2 kernel lie in the directions of a 3×3 kernel's
    assert [slot_colours(_slots(3, 2))[i] for i in (0, 1, 4, 5)] == [
        slot_colours(_slots(3, 3))[i] for i in (0, 2, 6, 8)
    ]


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 2), (2, 2), (3, 2), (3, 3), (5, 5), (3, 7), (1, 7), (4, 6)]
)
def test_every_slot_has_a_colour_of_its_own(rows: int, columns: int) -> None:
    colours = slot_colours(_slots(rows, columns))
    assert len(set(colours)) == rows * columns
    assert all(len(colour) == 7 for colour in colours)


@pytest.mark.parametrize(
    ("rows", "columns", "least"), [(5, 5, 0.045), (1, 9, 0.045), (11, 10, 0.045), (31, 30, 0.018)]
)
def test_colours_of_large_kernels_keep_their_distance(rows: int, columns: int, least: float) -> None:
    lab = _oklab(slot_colours(_slots(rows, columns)), np.eye(3))
    assert pdist(lab).min() >= least


@pytest.mark.parametrize(
    "slots",
    [
        [[0.4, 0.5], [0.5, 1.0], [1.0, 0.9]],  # three free taps in one direction
        [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]],
        [[-1.0, 0.0], [0.0, 0.0], [3.0, 0.0], [4.0, 0.0]],
    ],
)
def test_slots_in_one_direction_have_colours_of_their_own(slots: list[list[float]]) -> None:
    lab = _oklab(slot_colours(np.array(slots)), np.eye(3))
    assert pdist(lab).min() >= 0.045


def test_neighbours_in_large_kernels_differ_in_lightness() -> None:
    lightness = _oklab(slot_colours(_slots(5, 6)), np.eye(3))[:, 0].reshape(5, 6)
    for row in lightness:
        assert all(abs(a - b) > 0.05 for a, b in pairwise(row))


def test_a_theme_ends_with_its_context() -> None:
    before = mpl.rcParams["text.color"]
    with use_theme("dark") as look:
        assert mpl.rcParams["text.color"] == look.text
    assert mpl.rcParams["text.color"] == before


def test_an_unknown_theme_is_refused() -> None:
    with pytest.raises(NameNotFoundError, match="Did you mean dark"):
        get_look("drak")


@pytest.mark.parametrize(
    ("name", "limit", "wanted"),
    [
        ("backbone.layer3.11.conv2", 24, "backbone.layer3.11.conv2"),
        ("backbone.layer3.11.conv2", 23, "…layer3.11.conv2"),
        ("backbone.layer3.11.conv2", 10, "…11.conv2"),
        ("features.depthwise_of_a_long_name.conv", 20, "featur…ong_name.conv"),  # its last part is too short
        ("features.depthwise_of_a_long_name", 15, "feat…_long_name"),
        ("irregular, snapped to slots. Twice", 15, "irre…ots. Twice"),
        ("deeplab-lr0.05-irregular-seed1", 24, "deeplab…-irregular-seed1"),  # no module's
        ("0.layer.11.conv2", 15, "…11.conv2"),
    ],
)
def test_long_names_keep_their_end(name: str, limit: int, wanted: str) -> None:
    assert shorten(name, limit) == wanted


@pytest.mark.parametrize("name", ["$$ (cash)", "$x_{$", "US$ and A$ notes", r"\frac{1}{", "a_{b}^c"])
def test_names_are_drawn_as_they_are(make_cloud, tmp_path: Path, name: str) -> None:
    cloud = make_cloud(name)
    with mpl.rc_context({"text.usetex": True}):  # a user's setting that asks for LaTeX
        figure = draw_cloud(cloud, fit_gaussians(cloud))
        write_figure(figure, tmp_path / "cloud.png", dpi=40)
    texts = [text for text in figure.findobj(Text) if name in text.get_text()]
    assert texts
    assert not any(text.get_parse_math() or text.get_usetex() for text in texts)
    assert not any(text.get_usetex() for text in figure.findobj(Text)), "nor its ticks"


def test_control_characters_are_drawn_as_escapes(make_cloud, tmp_path: Path) -> None:
    cloud = make_cloud("a\x1b]0;title\x07")
    figure = draw_cloud(cloud, fit_gaussians(cloud))
    written = write_figure(figure, tmp_path / "a.svg").read_bytes()  # that warns of a glyph fails
    assert b"\x1b" not in written
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert r"a\x1b]0;title\x07" in texts


def test_a_users_font_draws_what_ours_cannot() -> None:
    with mpl.rc_context({"font.family": ["DejaVu Serif"]}), use_theme("light"):
        assert mpl.rcParams["font.family"][:2] == ["DejaVu Sans", "DejaVu Serif"]
    with (
        mpl.rc_context({"font.family": ["sans-serif"], "font.sans-serif": ["cmr10", "nowhere"]}),
        use_theme("dark"),
    ):
        assert mpl.rcParams["font.family"][:2] == ["DejaVu Sans", "cmr10"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_middle_of_a_difference_is_as_quiet_as_the_ground(theme: str) -> None:
    with use_theme(theme) as look:
        colours = [to_hex(mpl.colormaps[look.diverging](place)) for place in np.linspace(0, 1, 21)]
    ground = luminance(look.background)
    contrast = [abs(luminance(colour) - ground) for colour in colours]
    assert contrast[10] < 0.12
    assert contrast[10] == min(contrast)
    assert min(contrast[2], contrast[-3]) > 0.3
    assert to_colour_stops(look.diverging, signed=True)[32][1] == colours[10]


def test_letters_that_no_font_has_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with use_theme("light"):
        figure = Figure()
        figure.text(0.5, 0.5, "\uf8f0 a $x_1$ \uf8f1")  # letters for private use
    for name in ("one.png", "two.png", "three.svg"):
        write_figure(figure, tmp_path / name)
    told = [record.getMessage() for record in caplog.records if "boxes stand for them" in record.getMessage()]
    assert len(told) == 1
    assert "\uf8f0 \uf8f1:" in told[0]
    assert not [one for one in recwarn if "Glyph" in str(one.message)]
