"""A user's own images, masks and class names."""

import json

import numpy as np
import pytest
from PIL import Image

from icnn_core.datasets import splits
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


def test_a_file_of_a_kind_that_is_not_read_is_named(root):
    image = root / "images" / "my leaf 03.jpg"
    image.rename(image.with_suffix(".gif"))
    with pytest.raises(
        DataError, match=r"my leaf 03 \(my leaf 03.gif is of a kind that is not read\).*--reader"
    ):
        open_dataset("folder", root, "train")


def test_names_that_look_alike_are_one_name(root):
    """macOS may write ä as a and two dots; an archive's masks may have the one letter."""
    _pair(root / "images", root / "masks", "bl\u00e4tter 11")
    image = root / "images" / "bl\u00e4tter 11.jpg"
    image.rename(root / "images" / "bla\u0308tter 11.jpg")
    assert _stems(open_dataset("folder", root, "all")) == [11, *range(11)]
    (root / "val.txt").write_text("bla\u0308tter 11\n", encoding="utf-8")
    assert _stems(open_dataset("folder", root, "val")) == [11]


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


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(splits, "_said", set())


def _splits(root, *names):
    return {name: set(_stems(open_dataset("folder", root, name))) for name in names}


def _list(root, name, numbers):
    (root / f"{name}.txt").write_text("".join(f"my leaf {number:02}\n" for number in numbers))


def test_val_comes_out_of_trains_list_and_never_out_of_tests(root, caplog):
    _list(root, "train", (8, 0, 1, 2, 3, 4, 5))
    _list(root, "test", (6, 7, 9, 10))
    got = _splits(root, "train", "val", "test")
    assert got == {"train": {0, 1, 2, 3, 5, 8}, "val": {4}, "test": {6, 7, 9, 10}}
    assert [r.message for r in caplog.records if "no split val" in r.message] == [
        f"{root}: no split val is given: every fifth of train is it, and train has the others"
    ]


def test_what_is_not_given_is_made_of_what_no_other_split_has(root):
    _list(root, "test", (0, 4))
    assert _splits(root, "train", "val") == {"train": {1, 2, 3, 5, 7, 8, 9, 10}, "val": {6}}
    _list(root, "val", (5, 6))
    assert _splits(root, "train", "val") == {"train": {1, 2, 3, 7, 8, 9, 10}, "val": {5, 6}}


def test_val_of_folders_comes_out_of_trains_folder(tmp_path):
    (tmp_path / "classes.txt").write_text("ground\nleaf\n")
    for split, numbers in (("train", range(7)), ("test", range(20, 26))):
        for number in numbers:
            _pair(tmp_path / "images" / split, tmp_path / "masks" / split, f"{number:02}")
    assert _splits(tmp_path, "train", "val") == {"train": {0, 1, 2, 3, 5, 6}, "val": {4}}


def test_an_image_in_two_lists_is_refused(root):
    _list(root, "train", (1, 2, 3))
    _list(root, "val", (4, 3))
    for split in ("train", "val"):
        with pytest.raises(DataError, match=r"either in train or in val; got 1 in both: my leaf 03\.jpg"):
            open_dataset("folder", root, split)


def test_the_same_picture_under_two_names_is_said(root, caplog):
    for number in range(11):
        Image.new("RGB", SIZE[::-1], (9 * number, 80, 70)).save(root / "images" / f"my leaf {number:02}.jpg")
    (root / "images" / "my leaf 07.jpg").write_bytes((root / "images" / "my leaf 02.jpg").read_bytes())
    _list(root, "train", (0, 1, 2, 3))
    _list(root, "val", (4, 5))
    _list(root, "test", (6, 7, 8))
    for split in ("train", "val", "test"):
        open_dataset("folder", root, split)
    assert [r.message for r in caplog.records] == [
        "the same image is in train and in test: my leaf 02.jpg as my leaf 07.jpg"
    ]
