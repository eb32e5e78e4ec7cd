"""A user's own images, masks and class names."""

import json

import numpy as np
import pytest
from PIL import Image

from icnn_core.datasets.folder import read_class_file
from icnn_core.datasets.registry import open_dataset
from icnn_core.errors import DataError

SIZE = (9, 14)


def _pair(images, masks, stem, values=(0, 1, 255)):
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 80, 70)).save(images / f"{stem}.jpg")
    Image.fromarray(np.resize(np.array(values, np.uint8), SIZE)).save(masks / f"{stem}.png")


@pytest.fixture
def root(tmp_path):
    for number in range(11):
        _pair(tmp_path / "images", tmp_path / "masks", f"my leaf {number:02}")
    (tmp_path / "classes.txt").write_text("ground\n\nleaf\n")
    return tmp_path


def _stems(data):
    return [int(p.stem[-2:]) for p in data.pairs]


def test_without_lists_every_fifth_image_is_for_validation(root):
    train, val = open_dataset("folder", root, "train"), open_dataset("folder", root, "val")
    assert _stems(val) == [4, 9]
    assert sorted(_stems(train) + _stems(val)) == list(range(11))
    assert _stems(open_dataset("folder", root, "all")) == list(range(11))
    assert train.classes == ("ground", "leaf")
    assert train[0][1].flatten()[:3].tolist() == [0, 1, 255]


def test_a_list_goes_before_that_and_folders_before_a_list(root):
    (root / "val.txt").write_text("my leaf 07.jpg\nmy leaf 02\n")
    assert _stems(open_dataset("folder", root, "val")) == [7, 2]
    _pair(root / "images" / "val", root / "masks" / "val", "99")
    assert _stems(open_dataset("folder", root, "val")) == [99]


def test_an_unknown_split_says_how_to_make_one(root):
    with pytest.raises(DataError, match=r"split 'test'; got 11 images and no list test\.txt"):
        open_dataset("folder", root, "test")


def test_too_few_images_for_a_split_are_said(tmp_path):
    _pair(tmp_path / "images", tmp_path / "masks", "one")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="got 1 images"):
        open_dataset("folder", tmp_path, "val")


def test_class_names_are_asked_for(root):
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"classes\.txt or classes\.json; got neither"):
        open_dataset("folder", root, "all")
    (root / "names.txt").write_text("a\nb\nc\n")
    assert open_dataset("folder", root, "all", classes=root / "names.txt").classes == ("a", "b", "c")


def test_json_gives_colours_and_the_numbers_in_the_masks(root):
    given = {
        "classes": ["ground", "leaf"],
        "palette": [[1, 2, 3], [4, 5, 6]],
        "ids": [0, 255],
        "void_ids": [1],
    }
    (root / "classes.json").write_text(json.dumps(given))
    data = open_dataset("folder", root, "all")
    assert data[0][1].flatten()[:3].tolist() == [0, 255, 1]
    assert data.palette == ((1, 2, 3), (4, 5, 6))


def test_masks_in_black_and_white_are_explained(root):
    for number in range(11):
        _pair(root / "images", root / "masks", f"my leaf {number:02}", values=(0, 255))
    with pytest.raises(DataError, match="0 and 255 alone, and 255 means void"):
        open_dataset("folder", root, "train")
    (root / "classes.json").write_text(
        json.dumps({"classes": ["ground", "leaf"], "ids": [0, 255], "void_ids": [254]})
    )
    assert open_dataset("folder", root, "train")[0][1].flatten()[:3].tolist() == [0, 1, 0]


def test_opening_does_not_stumble_over_a_damaged_mask(root):
    (root / "masks" / "my leaf 00.png").write_bytes(b"")
    data = open_dataset("folder", root, "train", skip_bad=True)
    assert (data[0][1] == 255).all()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "3",
        '{"names": ["a"]}',
        '{"classes": ["a", "b"], "palette": [[1, 2, 3]]}',
        '{"classes": ["a"], "palette": [[1, 2]]}',
        '{"classes": ["a", "b"], "ids": [1]}',
        '{"classes": ["a", "b"], "ids": [1, 1]}',
        '{"classes": ["a", "b"], "ids": [0, 255]}',
        '{"classes": ["a", "b"], "ids": [0, -1]}',
        '{"classes": ["a", "b"], "ids": ["x", "y"]}',
        '{"classes": ["a", "b", "a"]}',
        json.dumps([f"c{n}" for n in range(256)]),
    ],
)
def test_class_files_that_cannot_be_used_are_named(tmp_path, text):
    path = tmp_path / "classes.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"classes\.json"):
        read_class_file(path)


def test_a_missing_class_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt"):
        read_class_file(tmp_path / "none.txt")
