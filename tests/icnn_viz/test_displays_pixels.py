"""One record of a pixel, and one rule for its table: figure, notebook, report, explorer and command say the same."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icnn_core.errors import NameNotFoundError, ShapeError
from icnn_viz.cli._shown import say
from icnn_viz.displays import HeatmapDisplay, measure_rows
from icnn_viz.displays.page import to_measures_html
from icnn_viz.displays.pixels import find_class, to_comparison
from icnn_viz.displays.text_tables import tell_pixel
from icnn_viz.explorer.export import freeze
from icnn_viz.figures.comparison import describe_question, draw_comparison
from icnn_viz.figures.maps import scale_of, to_difference
from icnn_viz.figures.measure_table import answer_rows
from icnn_viz.figures.panels import format_alike
from icnn_viz.heatmaps import to_heatmap
from icnn_viz.records import PixelComparison, PixelGradient, name_class
from icnn_viz.report.tables import to_measure_table as to_report_table

MakeGradient = Callable[..., PixelGradient]


@pytest.fixture
def record(make_gradient: MakeGradient) -> PixelComparison:
    """Of two networks, of which the first alone has a receptive field, so that only it can lie beyond it."""
    gradients = [make_gradient(name, seed) for seed, name in enumerate(("mine", "theirs"))]
    labels = np.zeros((24, 37), np.int64)
    labels[4:12, 14:32] = 1
    found = to_comparison(gradients, labels=labels, source="a photograph")
    measures = [found.measures[0] | {"beyond_field": 0.125}, found.measures[1]]
    return replace(found, measures=measures)


def test_a_measure_that_any_network_has_is_shown_in_all_fronts(
    record: PixelComparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row.name: row for row in measure_rows(record)}
    assert rows["beyond_field"].title == "energy beyond the receptive field (share)"
    assert rows["beyond_field"].texts == ["0.125", "–"]
    assert "pointing_game" not in rows
    assert rows["half_energy_radius"].title == "radius about the pixel that holds half of the energy (pixels)"
    titles, values = [row.title for row in rows.values()], [row.texts for row in rows.values()]

    maps = record.gradients, record.heatmaps
    figure = [
        text.get_text().replace("\n", " ") for text in draw_comparison(*maps, measures=record.measures).texts
    ]
    drawn = [rows[name] for name in ("energy_in_object", "object_used", "area_90", "radius_of_gyration")]
    assert all({row.title, *row.texts} <= set(figure) for row in drawn)
    page = html.unescape(to_measures_html(record))
    monkeypatch.setenv("COLUMNS", "200")
    say(tell_pixel(record), json=False)
    printed = capsys.readouterr().out
    for title, texts in zip(titles, values, strict=True):
        assert title in page
        assert title in printed
        assert all(text in page and text in printed for text in texts)
    summary = HeatmapDisplay([record]).summary()
    assert summary["measure"].tolist() == list(rows)
    assert summary["theirs"].isna().tolist() == [name == "beyond_field" for name in rows]
    report = to_report_table([record])
    assert [column.heading for column in report.columns][-len(titles) :] == titles
    assert [[cell.text for cell in line][-len(titles) :] for line in report.rows] == [
        list(column) for column in zip(*values, strict=True)
    ]
    assert freeze(record)[0]["measures"][2:] == values


def test_without_labels_no_front_speaks_of_an_object(make_gradient: MakeGradient) -> None:
    bare = to_comparison([make_gradient("mine"), make_gradient("theirs", 1)])
    assert bare.true_class == ""
    assert not {"energy_in_object", "energy_in_class"} & {row.name for row in measure_rows(bare)}


def test_void_is_no_object_and_no_class(make_gradient: MakeGradient) -> None:
    gradients = [make_gradient("mine", classes=()), make_gradient("theirs", 1, classes=())]
    labels = np.full((24, 37), 255)
    labels[:, 25:] = 3
    found = to_comparison(gradients, labels=labels)
    assert "energy_in_object" not in found.measures[0]
    assert [name for name in found.measures[0] if name.startswith("energy_on")] == [
        f"energy_on {number}" for number in range(4)
    ]


def test_void_is_void_where_no_class_has_a_name(make_gradient: MakeGradient) -> None:
    gradient = make_gradient()
    labels = np.zeros(gradient.image.shape[:2], int)
    labels[gradient.pixel] = 255
    bare = replace(gradient, classes=())
    assert to_comparison([bare], labels=labels).true_class == "void"
    labels[gradient.pixel] = 7
    assert to_comparison([bare], labels=labels).true_class == "7"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_labels_are_whole_numbers_of_any_kind_and_of_the_images_size(
    make_gradient: MakeGradient, kind: type
) -> None:
    labels = np.full((24, 37), 255)
    labels[:, 25:] = 3
    for classes in ((), tuple("abcd")):
        gradients = [make_gradient("mine", classes=classes)]
        found, same = (to_comparison(gradients, labels=one) for one in (labels.astype(kind), labels))
        assert found.measures == same.measures
    with pytest.raises(ShapeError, match=r"of the image's size, \(24, 37\); got \(37, 24\)"):
        to_comparison(gradients, labels=labels.T)


def test_a_class_is_found_however_its_letters_are_written() -> None:
    composed, apart = "Fu\u00dfg\u00e4nger", "Fu\u00dfga\u0308nger"
    assert find_class(apart, ("road", composed)) == find_class(composed, ("road", apart)) == 1


def test_rounding_is_no_difference(make_gradient: MakeGradient) -> None:
    first = to_heatmap(make_gradient("mine"))
    for share, is_seen in ((1e-7, False), (1e-3, True)):
        shown = first.values * (1 + share * np.random.default_rng(0).standard_normal(first.values.shape))
        values, scale, _ = to_difference(
            first, replace(first, values=shown), "raw", scale_of([first], "gradient")
        )
        assert bool(values.any()) == is_seen
        assert scale.top > 0


def test_a_class_is_called_the_same_everywhere(make_gradient: MakeGradient) -> None:
    names = ("ground", "ring")
    assert [name_class(n, names) for n in (0, 1, 2, -1)] == ["ground", "ring", "2", "-1"]
    assert name_class(255, names, "void") == "void"
    assert name_class(255, (), "void") == "255"
    assert find_class("RING", names) == find_class("1", names) == 1
    with pytest.raises(NameNotFoundError, match="Did you mean ring"):
        find_class("rign", names)
    gradient = make_gradient(classes=names, prediction=np.full((24, 37), 7))
    assert (gradient.class_name, gradient.predicted_name) == ("ring", "7")


def test_a_record_says_what_matters(record: PixelComparison) -> None:
    assert "x = 20, y = 9" in repr(record)
    assert "a photograph" in record._repr_html_()


def test_a_difference_of_logits_is_called_so_by_the_names_of_its_classes(make_gradient: MakeGradient) -> None:
    names = ("ground", "ring", "bar")
    gradients = [make_gradient(name, classes=names, class_id=1, against=2) for name in ("mine", "theirs")]
    found = to_comparison(gradients)
    assert describe_question(gradients[0]).startswith(
        "What the logit of “ring” minus that of “bar” at x = 20"
    )
    assert answer_rows(found)[1].title == "difference of logits"
    assert "“ring” minus “bar”" in repr(gradients[0])
    assert "“ring” minus “bar”" in repr(found)
    assert HeatmapDisplay([found]).summary()["against"].unique().tolist() == ["bar"]
    assert HeatmapDisplay([found]).to_frame()["against"].unique().tolist() == ["bar"]
    titles = [ax.get_title() for ax in HeatmapDisplay([found]).draw("grid").axes]
    assert any("“ring” minus “bar”" in title for title in titles)


def test_numbers_beside_each_other_have_one_precision(record: PixelComparison) -> None:
    assert format_alike([12.9, 13.0, 9.96]) == ["12.9", "13.0", "10.0"]
    assert format_alike([0.0123, -1234.5, float("nan")]) == ["0", "−1,234", "–"]
    assert format_alike([19.0, 7.0]) == ["19", "7"]
    assert format_alike([2.5e-5, 0.0]) == ["2.5·10⁻⁵", "0"]
    assert format_alike([-0.001, 1.21]) == ["0.00", "1.21"]
    measures = [
        found | {"entropy": value} for found, value in zip(record.measures, (12.94, 13.0), strict=True)
    ]
    found = replace(record, measures=measures)
    texts = {row.name: row.texts for row in measure_rows(found)}
    assert texts["entropy"] == ["12.9", "13.0"]
    assert "<td>13.0</td>" in HeatmapDisplay([found])._repr_html_()
    report = to_report_table([found])
    place = [column.name for column in report.columns].index("entropy")
    assert [(line[place].text, line[place].value) for line in report.rows] == [
        ("12.9", "12.94"),
        ("13.0", "13"),
    ]
