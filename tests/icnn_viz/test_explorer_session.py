"""The explorer without its pages: images by key, dropped-in files, remembered gradients, URLs."""

from __future__ import annotations

import base64
import struct
import threading
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icnn_core.errors import ArgumentError, DataError, NameNotFoundError
from icnn_viz.displays.pixels import Question
from icnn_viz.explorer.kernel_figures import draw_plane, draw_space, select
from icnn_viz.explorer.memory import StaleError, Turns
from icnn_viz.explorer.session import Session
from icnn_viz.explorer.shelf import MOST_BYTES, Shelf, Source, decode_upload
from icnn_viz.explorer.states import HeatmapState, KernelState, brush_of, parse_brush
from icnn_viz.figures.screen import shrink, to_colour_stops
from icnn_viz.records import PositionCloud

MakeSession = Callable[..., Session]


def as_upload(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


# images


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_an_image_dropped_in_is_what_was_drawn(kind: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (7, 12, 3), np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(
        decode_upload(as_upload(Image.fromarray(drawn), kind, **options), 12), drawn
    )


def test_a_photo_held_upright_is_turned() -> None:
    picture = Image.new("RGB", (12, 7))
    exif = picture.getexif()
    exif[0x0112] = 6  # rotate by 90°
    assert decode_upload(as_upload(picture, "JPEG", exif=exif), 99).shape == (12, 7, 3)


def test_other_kinds_are_refused_before_a_decoder_sees_them() -> None:
    for kind in ("GIF", "TIFF", "PPM"):
        with pytest.raises(DataError, match="JPEG, PNG, WEBP"):
            decode_upload(as_upload(Image.new("RGB", (5, 4)), kind), 99)


@pytest.mark.parametrize(
    "contents", ["", "nothing", "data:image/png;base64,", "data:image/png;base64,!!!!", "file:///etc/passwd"]
)
def test_what_is_no_data_url_is_refused(contents: str) -> None:
    with pytest.raises(DataError, match="your image"):
        decode_upload(contents, 99)


def png_that_claims(width: int, height: int) -> str:
    """A PNG of a few bytes whose header names a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("size", "got"),
    [((2049, 3), "2049 × 3"), ((3, 2049), "3 × 2049"), ((12_000, 9_000), "×"), ((60_000, 50_000), "many")],
)
def test_a_large_image_is_refused_before_its_pixels_are_decoded(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], got: str
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(DataError, match=f"at most 2048 pixels.*{got}"):
        decode_upload(png_that_claims(*size), 2048)


def test_too_many_bytes_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("base64.b64decode", lambda *a, **k: pytest.fail("unpacked"))
    with pytest.raises(DataError, match="at most 12 MiB"):
        decode_upload("data:image/png;base64," + "A" * (MOST_BYTES * 4 // 3 + 8), 99)


def test_a_damaged_image_is_refused() -> None:
    contents = as_upload(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)))
    with pytest.raises(DataError, match="damaged"):
        decode_upload(contents[: 22 + len(contents) // 8 * 4], 99)


def test_keys_are_no_paths_and_old_drops_are_forgotten() -> None:
    read: list[int] = []

    def source(number: int) -> Source:
        def see() -> tuple[np.ndarray, None]:
            read.append(number)
            return np.full((4, 5, 3), number, np.uint8), None

        return Source(f"street {number}", see)

    shelf = Shelf([source(0), source(1)], 50)
    assert shelf.names() == {"0": "street 0", "1": "street 1"}
    assert shelf.get("1").image.max() == 1
    shelf.get("1")
    assert read == [1]
    for key in ("2", "", "../../etc/passwd", "/etc/passwd", "street 0", "-1"):
        with pytest.raises(NameNotFoundError):
            shelf.get(key)
    keys = [shelf.drop(as_upload(Image.new("RGB", (5, 4 + n))), f"mine {n}").key for n in range(10)]
    assert len(set(keys)) == 10
    assert shelf.get(keys[-1]).name == "mine 9"
    with pytest.raises(NameNotFoundError, match="drop it in again"):
        shelf.get(keys[0])
    assert list(shelf.names())[:2] == ["0", "1"]


# answers


def test_an_answer_is_remembered_and_smoothing_asks_no_network(make_session: MakeSession) -> None:
    session = make_session()
    first = session.answer(Question("0", (9, 20)))
    assert [len(network.calls) for network in session.networks] == [1, 1]
    again = session.answer(Question("0", (9, 20), smoothing=2.0))
    assert [len(network.calls) for network in session.networks] == [1, 1]
    assert again.heatmaps[0].smoothing == 2.0
    assert first.heatmaps[0].smoothing == 0.0
    session.answer(Question("0", (9, 21)))
    session.answer(Question("0", (9, 20), method="guided"))
    session.answer(Question("1", (9, 20)))
    assert [len(network.calls) for network in session.networks] == [4, 4]


def test_the_first_network_chooses_the_class_for_all(make_session: MakeSession) -> None:
    session = make_session(predicted=(1, 0))
    answer = session.answer(Question("0", (9, 20)))
    assert [gradient.class_id for gradient in answer.gradients] == [1, 1]
    assert session.networks[1].calls[0][1] == 1
    given = session.answer(Question("0", (9, 20), class_id=0))
    assert [gradient.class_id for gradient in given.gradients] == [0, 0]


def test_labels_give_the_measures_of_masks(make_session: MakeSession) -> None:
    session = make_session()
    without, with_labels = (session.answer(Question(key, (9, 20))) for key in ("0", "1"))
    assert without.true_class == ""
    assert "energy_in_object" not in without.measures[0]
    assert with_labels.true_class == "ring"
    # The object is columns 14…31 of image 1: what lies there of all energy.
    values = with_labels.heatmaps[0].values
    assert with_labels.measures[0]["energy_in_object"] == pytest.approx(values[:, 14:32].sum() / values.sum())


def test_a_pixel_outside_is_refused(make_session: MakeSession) -> None:
    for pixel in ((24, 0), (0, 37), (-1, 3)):
        with pytest.raises(ArgumentError, match="y in 0…23 and x in 0…36"):
            make_session().answer(Question("0", pixel))


def test_what_nobody_waits_for_is_not_computed(make_session: MakeSession) -> None:
    session = make_session()
    stale = [False, True]
    with pytest.raises(StaleError):
        session.answer(Question("0", (9, 20)), lambda: stale.pop(0))
    assert [len(network.calls) for network in session.networks] == [1, 0]


def test_a_newer_question_makes_older_ones_of_its_tab_stale() -> None:
    turns = Turns()
    first, other = turns.take("a", 1), turns.take("b", 1)
    assert not first()
    second = turns.take("a", 2)
    assert first()
    assert not second()
    assert not other()
    assert turns.take("a", 1)()  # one that was overtaken on its way


def test_one_pass_at_a_time_goes_through_a_network(make_session: MakeSession) -> None:
    session = make_session(delay=0.02)
    threads = [threading.Thread(target=session.answer, args=(Question("0", (9, 20 + n)),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for network in session.networks:
        assert len(network.calls) == 6
        assert network.most_at_once == 1


def test_the_least_recently_used_gradient_is_forgotten(make_session: MakeSession) -> None:
    session = make_session(room=40_000)  # of about 17,800 a gradient
    for x in (20, 21, 20):
        session.answer(Question("0", (9, x)))
    assert len(session.networks[0].calls) == 3


# figures


def test_colours_go_with_the_square_root() -> None:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = dict(to_colour_stops("viridis", gamma=0.5))
    assert stops[0.25] == to_hex(colormaps["viridis"](0.5))
    signed = dict(to_colour_stops("PuOr", gamma=0.5, signed=True))
    assert signed[0.5] == to_hex(colormaps["PuOr"](0.5))
    assert signed[0.625] == to_hex(colormaps["PuOr"](0.75))  # a quarter of the top


def test_a_large_map_is_shrunk_to_its_largest_values() -> None:
    values = np.zeros((5, 7))
    values[4, 6], values[1, 2] = -3.0, 2.0
    small, side = shrink(values, 12)
    assert side == 2
    np.testing.assert_array_equal(small, [[0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, -3]])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_brushed_points_are_those_inside(make_cloud: Callable[..., PositionCloud], theme: str) -> None:
    cloud = make_cloud(channels=30, spread=0.3)
    box = "box:-1,-1,1,1"
    chosen = select(cloud, box, None)
    expected = (np.abs(cloud.points) < 1).all(-1)
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(select(cloud, "lasso:-1,-1,1,-1,1,1,-1,1", None), expected)
    only = select(cloud, box, 4)
    assert only.sum() == expected[:, 4].sum() > 0
    assert select(cloud, "", None).all()
    figure = draw_space(cloud, None, box, theme=theme)
    brushed = figure.data[-1]
    assert brushed.name == "brushed"
    np.testing.assert_allclose(
        sorted(zip(brushed.y, brushed.x, strict=True)), sorted(map(tuple, cloud.points[expected]))
    )
    plane = draw_plane(cloud, 4, box, theme=theme)
    assert [trace.visible for trace in plane.data[:9]] == [n == 4 for n in range(9)]
    assert (plane.layout.selections[0].x0, plane.layout.selections[0].y1) == (-1, 1)


@pytest.mark.parametrize("sharing", ["channel", "none"])
def test_points_in_space_tell_their_shape_to_dash(
    make_cloud: Callable[..., PositionCloud], sharing: str
) -> None:
    cloud = make_cloud(channels=4, kernels=3 if sharing == "none" else 1, sharing=sharing)
    trace = draw_space(cloud, None, "", third_axis="weight").to_dict()["data"][0]
    assert list(trace["customdata"][-1]) == [2 if sharing == "none" else 0, 3]  # a list: not in base64


# URLs


def test_a_view_comes_back_from_its_url() -> None:
    view = HeatmapState("1", 33, 12, "gradient*input", "2", 1.5, "raw", 60)
    allowed = {"image": ["0", "1"], "method": ["gradient", "gradient*input"], "class": ["0", "1", "2"]}
    allowed |= {"difference": ["shares", "raw"]}
    assert HeatmapState.from_query(view.to_query(), HeatmapState(), allowed) == view
    kernels = KernelState("3", "4", "weight", 17, 2, "lasso:0,0,1.5,0,0.25,-2")
    assert KernelState.from_query(kernels.to_query(), KernelState(), {"height": ["weight"]}) == kernels


@pytest.mark.parametrize(
    "query",
    [
        "?image=../../etc/passwd&method=evil&class=9",
        "?x=-1&y=1e9&smoothing=nan&opacity=101",
        "?x=½&y=&smoothing=inf&opacity=%00",
        "?" + "x=1" * 9000,
        "x",
        "?=&&&;",
    ],
)
def test_a_hostile_url_gives_the_default(query: str) -> None:
    allowed = {"image": ["0"], "method": ["gradient"], "class": ["0"]}
    assert HeatmapState.from_query(query, HeatmapState(x=5, y=6), allowed) == HeatmapState(x=5, y=6)


@pytest.mark.parametrize(
    "brush", ["box:1,2,3", "lasso:0,0,1,1", "box:nan,0,1,1", "path:1,2,3,4", "lasso:" + "1," * 400]
)
def test_a_malformed_brush_is_refused(brush: str) -> None:
    with pytest.raises(ValueError, match=r"brush|float|zip"):
        parse_brush(brush)
    assert KernelState.from_query(f"?brush={brush}", KernelState(), {}).brush == ""


def test_plotlys_selections_become_brushes() -> None:
    box = {"range": {"x": [-1.00049, 2], "y": [0.5, -3]}, "points": []}
    assert brush_of(box) == "box:-1,0.5,2,-3"
    lasso = {"lassoPoints": {"x": [float(n) for n in range(350)], "y": [0.0] * 350}, "points": []}
    assert len(parse_brush(brush_of(lasso))) <= 100
    assert brush_of(None) == brush_of({"points": []}) == ""
