"""Label sets: the package's data files against the lists they must equal, and colours."""

import json

import pytest

from icnn_core.datasets.labels import LabelSet, default_palette, read_label_data, read_labels


@pytest.mark.parametrize(
    ("name", "count"), [("camvid", 11), ("voc", 21), ("context", 60), ("cityscapes", 19)]
)
def test_every_class_has_one_name_and_one_colour(name, count):
    labels = read_labels(name)
    assert len(labels.classes) == len(set(labels.classes)) == len(labels.palette) == count
    assert all(0 <= value <= 255 for colour in labels.palette for value in colour)
    assert set(labels.ids.values()) == {*range(count), 255}
    table = labels.table()
    assert [table[number] for number in labels.ids] == list(labels.ids.values())


def test_numbers_of_masks_are_known_where_each_means_one_class():
    assert read_labels("cityscapes").numbers[:4] == (7, 8, 11, 12)
    assert read_labels("cityscapes").numbers[-3:] == (31, 32, 33)
    assert read_labels("voc").numbers == tuple(range(21))
    assert LabelSet("two", ("a", "b"), ((0, 0, 0), (9, 9, 9)), {4: 1, 2: 0, 5: 1}).numbers == ()
    assert LabelSet("deep", ("a", "b"), ((0, 0, 0), (9, 9, 9)), {0: 0, 300: 1}).numbers == ()


def test_colours_of_few_classes_are_safe_and_of_many_are_vocs():
    assert default_palette(3)[1] == (0, 114, 178)
    assert len(set(default_palette(8))) == 8
    assert default_palette(60) == tuple(map(tuple, read_label_data("context")["palette"]))
    assert len(set(default_palette(200))) == 200


def _read(folder, name):
    return json.loads((folder / "lists" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.data
def test_camvid_equals_the_list(data_dir):
    listed, labels = _read(data_dir, "camvid_classes"), read_labels("camvid")
    assert list(labels.classes) == listed["classes"]
    assert labels.ids[listed["ignore"]] == 255


@pytest.mark.data
def test_voc_equals_the_list(data_dir):
    listed, labels = _read(data_dir, "voc_classes_colormap"), read_labels("voc")
    assert list(labels.classes) == listed["classes"]
    assert [list(c) for c in labels.palette] == listed["colormap"][:21]
    assert [list(c) for c in default_palette(255)] == listed["colormap"][:255]


@pytest.mark.data
def test_context_equals_the_list(data_dir):
    listed, data = _read(data_dir, "pascal_context_60"), read_label_data("context")
    rows = sorted(listed["pascal_context_459_id_to_60"], key=lambda row: row["idx60"])
    assert data["classes"] == [row["name"] for row in rows]
    assert data["ids_459"] == [row["id459"] for row in rows]
    assert data["voc_first"] == listed["voc_first_order_60"]


@pytest.mark.data
def test_cityscapes_equals_the_list(data_dir):
    labels = read_labels("cityscapes")
    for row in _read(data_dir, "cityscapes_labels"):
        if row["id"] >= 0:
            assert labels.ids[row["id"]] == row["trainId"], row["name"]
        if 0 <= row["trainId"] < 19:
            assert labels.classes[row["trainId"]] == row["name"]
            assert list(labels.palette[row["trainId"]]) == row["color"]
