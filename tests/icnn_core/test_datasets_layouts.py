"""The official layouts, in small: VOC 2012 with SBD, PASCAL Context, Cityscapes, CamVid, and opening them by name."""

import inspect
import os

import numpy as np
import pytest
import torchvision
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from icnn_core.datasets.labels import read_labels
from icnn_core.datasets.registry import DATASETS, open_dataset
from icnn_core.errors import ArgumentError, DataError, NameNotFoundError

SIZE = (12, 17)


def _image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)


def _mask(path, *values, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, dtype), SIZE)).save(path)


def _list(path, *names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def _sbd_file(path, *values):
    """The real files' structure: GTcls with Boundaries (a cell of sparse arrays), Segmentation, CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation = np.resize(np.array(values, np.uint8), SIZE)
    present = np.unique(segmentation[segmentation > 0]).astype(np.uint8)[:, None]
    boundaries = np.empty((20, 1), object)
    for i in range(20):
        boundaries[i, 0] = csc_matrix(SIZE, dtype=bool)
    parts = {"Boundaries": boundaries, "Segmentation": segmentation, "CategoriesPresent": present}
    savemat(path, {"GTcls": parts}, do_compression=True)


def _context_file(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"LabelMap": np.resize(np.array(values, np.uint16), SIZE)}, do_compression=True)


@pytest.fixture
def voc(tmp_path):
    """Official train: a; val: b. SBD annotates a, b, c and d; d has no official mask."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for i, stem in enumerate("abcd"):
        _image(base / "JPEGImages" / f"{stem}.jpg", i)
    _mask(base / "SegmentationClass" / "a.png", 0, 1, 255)
    _mask(base / "SegmentationClass" / "b.png", 0, 2, 255)
    for split, names in (("train", "a"), ("val", "b"), ("trainval", "ab")):
        _list(base / "ImageSets" / "Segmentation" / f"{split}.txt", *names)
    return tmp_path


def _add_sbd(root):
    place = root / "benchmark_RELEASE" / "dataset"
    for stem, label in zip("abcd", (1, 2, 3, 20), strict=True):
        _sbd_file(place / "cls" / f"{stem}.mat", 0, label)
    _list(place / "train.txt", "b", "c")
    _list(place / "val.txt", "a", "d")
    return place


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_from_any_folder_and_follows_the_official_lists(voc, below):
    data = open_dataset("voc", voc / below, "trainval")
    assert [p.stem for p in data.pairs] == ["a", "b"]
    assert data[1][1].flatten()[:3].tolist() == [0, 2, 255]


@pytest.mark.parametrize("split", ["train", "val"])
def test_voc_equals_torchvisions_reader(voc, split):
    data = open_dataset("voc", voc, split)
    theirs = torchvision.datasets.VOCSegmentation(str(voc), image_set=split, download=False)
    assert len(data) == len(theirs) == 1
    image, mask = theirs[0]
    assert np.array_equal(data[0][0].permute(1, 2, 0).numpy(), np.asarray(image))
    assert np.array_equal(data[0][1].numpy(), np.asarray(mask))


def test_train_aug_from_sbd_is_all_but_val_with_official_masks_where_there_are_any(voc):
    place = _add_sbd(voc)
    for sbd_root in (None, place):
        data = open_dataset("voc", voc, "train_aug", sbd_root=sbd_root)
        assert [(p.stem, p.mask.suffix) for p in data.pairs] == [("a", ".png"), ("c", ".mat"), ("d", ".mat")]
        assert data[0][1].flatten()[:3].tolist() == [0, 1, 255]
        assert data[2][1].flatten()[:3].tolist() == [0, 20, 0]


def test_sbd_equals_torchvisions_reader(voc):
    place = _add_sbd(voc)
    (place / "img").symlink_to(voc / "VOCdevkit" / "VOC2012" / "JPEGImages")
    theirs = torchvision.datasets.SBDataset(str(place), image_set="train", mode="segmentation")
    data = open_dataset("voc", voc, "train_aug")
    image, mask = theirs[1]
    assert np.array_equal(data[1][0].permute(1, 2, 0).numpy(), np.asarray(image))
    assert np.array_equal(data[1][1].numpy(), np.asarray(mask))


def test_train_aug_from_png_is_all_but_val_or_follows_its_list(voc):
    base = voc / "VOCdevkit" / "VOC2012"
    for stem in "abcd":
        _mask(base / "SegmentationClassAug" / f"{stem}.png", 0, 5, 255)
    assert [p.stem for p in open_dataset("voc", voc, "train_aug").pairs] == ["a", "c", "d"]
    _list(base / "ImageSets" / "Segmentation" / "trainaug.txt", "d", "a")
    data = open_dataset("voc", voc, "train_aug")
    assert [p.stem for p in data.pairs] == ["d", "a"]
    assert data[1][1].flatten()[:3].tolist() == [0, 5, 255]


@pytest.mark.parametrize(
    ("break_it", "split", "said"),
    [
        (lambda root: None, "train_aug", r"SegmentationClassAug or SBD.*sbd_root"),
        (
            lambda root: (root / "VOCdevkit/VOC2012/JPEGImages/a.jpg").unlink(),
            "train",
            "JPEGImages.*1 of 1: a",
        ),
        (
            lambda root: (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").unlink(),
            "val",
            r"val\.txt",
        ),
        (
            lambda root: _mask(root / "VOCdevkit/VOC2012/SegmentationClass/a.png", 21),
            "train",
            r"a\.png.*got 21",
        ),
    ],
)
def test_what_is_wrong_with_voc_is_named(voc, break_it, split, said):
    break_it(voc)
    with pytest.raises(DataError, match=said):
        open_dataset("voc", voc, split)[0]


@pytest.mark.parametrize("content", ["noise", "cut", "other", "flat"])
def test_broken_mat_files_are_named_and_skipped_only_where_damaged(voc, content):
    path = _add_sbd(voc) / "cls" / "c.mat"
    if content == "noise":
        path.write_bytes(b"no MATLAB file")
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:200])
    else:
        savemat(path, {"GTcls" if content == "flat" else "LabelMap": np.array([["text"]], object)})
    with pytest.raises(DataError, match=r"c\.mat"):
        open_dataset("voc", voc, "train_aug")[1]
    skipping = open_dataset("voc", voc, "train_aug", skip_bad=True)
    if content in ("noise", "cut"):
        assert (skipping[1][1] == 255).all()
        assert [p.stem for p in skipping.skipped] == ["c"]
    else:
        with pytest.raises(DataError, match=r"GTcls\.Segmentation"):
            skipping[1]


@pytest.fixture
def context(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2010"
    for i, stem in enumerate("ab"):
        _image(base / "JPEGImages" / f"{stem}.jpg", i)
    _list(base / "ImageSets" / "Main" / "train.txt", "a")
    _list(base / "ImageSets" / "Main" / "val.txt", "b")
    return tmp_path


def test_context_maps_459_ids_to_60_classes(context):
    _context_file(context / "trainval" / "a.mat", 2, 25, 1, 459, 458, 431)
    _context_file(context / "trainval" / "b.mat", 284)
    data = open_dataset("context", context, "train")
    names = [data.classes[label] for label in data[0][1].flatten()[:6].tolist()]
    assert names == ["aeroplane", "bird", "background", "background", "wood", "background"]
    val = open_dataset("context", context, "val")
    assert {val.classes[label] for label in val[0][1].unique().tolist()} == {"person"}
    _context_file(context / "trainval" / "a.mat", 460)
    with pytest.raises(DataError, match="got 460"):
        data[0]


def test_context_png_in_both_orders(context):
    base = context / "VOCdevkit" / "VOC2010"
    _list(base / "ImageSets" / "SegmentationContext" / "train.txt", "b")
    for stem in "ab":
        _mask(base / "SegmentationClassContext" / f"{stem}.png", 0, 2, 59, 255)
    by_name = open_dataset("context", context, "train")
    assert by_name.pairs[0].stem == "b"
    assert by_name[0][1].flatten()[:4].tolist() == [0, 2, 59, 255]
    voc_first = open_dataset("context", context, "train", png_order="voc_first")[0][1].flatten()[:4].tolist()
    assert [by_name.classes[label] for label in voc_first[:3]] == ["background", "bicycle", "wood"]
    with pytest.raises(ArgumentError, match="voc_first"):
        open_dataset("context", context, "train", png_order="vocfirst")


def test_context_without_labels_says_where_they_belong(context):
    with pytest.raises(DataError, match="SegmentationClassContext or trainval"):
        open_dataset("context", context, "train")


@pytest.fixture
def cityscapes(tmp_path):
    for city, stem in (("ulm", "ulm_000001_000019"), ("aachen", "aachen_000000_000019")):
        _image(tmp_path / "leftImg8bit" / "val" / city / f"{stem}_leftImg8bit.png")
        labels = tmp_path / "gtFine" / "val" / city / f"{stem}_gtFine_labelIds.png"
        _mask(labels, 7, 33, 0, 29)
        _mask(labels.with_name(f"{stem}_gtFine_instanceIds.png"), 26001, dtype=np.uint16)
        _mask(labels.with_name(f"{stem}_gtFine_labelTrainIds.png"), 3, 18, 255)
    return tmp_path


def test_cityscapes_ids_become_train_ids(cityscapes):
    data = open_dataset("cityscapes", cityscapes, "val")
    assert [p.stem for p in data.pairs] == ["aachen_000000_000019", "ulm_000001_000019"]
    assert data[1][1].flatten()[:4].tolist() == [0, 18, 255, 255]
    for path in (cityscapes / "gtFine").rglob("*labelIds.png"):
        path.unlink()
    assert open_dataset("cityscapes", cityscapes, "val")[0][1].flatten()[:3].tolist() == [3, 18, 255]


def test_cityscapes_files_without_partners_are_named(cityscapes):
    next((cityscapes / "gtFine").rglob("ulm*labelIds.png")).unlink()
    with pytest.raises(DataError, match="for every image; got none for 1 of 2: ulm_000001_000019"):
        open_dataset("cityscapes", cityscapes, "val")
    with pytest.raises(DataError, match=r"leftImg8bit/train: .* holds val"):
        open_dataset("cityscapes", cityscapes, "train")


def test_camvid_void_and_list(tmp_path):
    for i, stem in enumerate("ab"):
        _image(tmp_path / "val" / f"{stem}.png", i)
        _mask(tmp_path / "valannot" / f"{stem}.png", 0, 10, 11)
    assert len(open_dataset("camvid", tmp_path, "val")) == 2
    _list(tmp_path / "val.txt", "/SegNet/CamVid/val/b.png /SegNet/CamVid/valannot/b.png")
    data = open_dataset("camvid", str(tmp_path), "val", size=None, skip_bad=False)
    assert [p.stem for p in data.pairs] == ["b"]
    assert data[0][1].flatten()[:3].tolist() == [0, 10, 255]
    _mask(tmp_path / "valannot" / "b.png", 12)
    with pytest.raises(DataError, match=r"got 12 \(known: 0–11, 255\)"):
        data[0]


@pytest.mark.parametrize(
    ("name", "root", "split", "options", "error", "said"),
    [
        ("camvit", "x", "val", {}, NameNotFoundError, "Did you mean camvid"),
        ("camvid", None, "val", {}, DataError, "needs the folder"),
        ("camvid", "x", "validation", {}, ArgumentError, "val"),
        ("voc", "x", "trainaug", {}, ArgumentError, "train_aug"),
        ("context", "x", "test", {}, ArgumentError, "train"),
        ("cityscapes", "x", "valid", {}, ArgumentError, "val"),
        ("voc", "x", "val", {"sbdroot": "y"}, ArgumentError, "Did you mean sbd_root"),
        ("voc", "/nowhere/at/all", "val", {}, DataError, "/nowhere/at/all/VOCdevkit/VOC2012"),
    ],
)
def test_names_splits_and_options_that_do_not_exist_are_named(name, root, split, options, error, said):
    with pytest.raises(error, match=said):
        open_dataset(name, root, split, **options)


def test_shapes_need_no_folder_and_every_data_set_on_disk_can_skip():
    assert len(open_dataset("shapes", None, "val", size=(40, 52), length=3, skip_bad=False)) == 3
    for name, make in DATASETS.items():
        assert name == "shapes" or "skip_bad" in inspect.signature(make).parameters


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "split", "count", "labels"),
    [
        ("camvid", "camvid", "train", 367, set(range(11))),
        ("camvid", "camvid", "test", 233, set(range(11))),
        ("voc", "voc12_animals", "train", 437, {0, 8, 12, 13, 15, 17}),
        ("voc", "voc12_animals", "val", 200, {0, 8, 10, 12, 13, 15, 17}),
        ("voc", "voc12_animals/VOCdevkit", "train_aug", 437, {0}),
        ("cityscapes", "cityscapes_mini", "val", 1, {0, 1, 2, 4, 5, 7, 8, 10, 11, 13}),
    ],
)
def test_real_data_is_read(data_dir, name, folder, split, count, labels):
    data = open_dataset(name, data_dir / folder, split)
    assert len(data) == count
    seen = set()
    for index in range(0, count, max(1, count // 12)):
        image, mask = data[index]
        assert image.shape[1:] == mask.shape
        seen |= set(mask.unique().tolist())
    assert seen - {255} <= set(range(len(data.classes)))
    assert labels <= seen


@pytest.mark.data
def test_train_aug_is_the_official_list_of_10582(data_dir, tmp_path):
    """Derived from the folder of augmented masks and val's list alone."""
    lists = {
        name: (data_dir / "lists" / f"voc12_{name}.txt").read_text().split() for name in ("train_aug", "val")
    }
    base = tmp_path / "VOC2012"
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClassAug", ".png")):
        (base / folder).mkdir(parents=True)
        for stem in lists["train_aug"] + lists["val"]:
            os.close(os.open(base / folder / f"{stem}{suffix}", os.O_CREAT))
    _list(base / "ImageSets" / "Segmentation" / "val.txt", *lists["val"])
    data = open_dataset("voc", tmp_path, "train_aug")
    assert [pair.stem for pair in data.pairs] == sorted(lists["train_aug"])
    assert len(data) == 10_582


def test_cityscapes_ids_equal_torchvisions_table():
    labels = read_labels("cityscapes")
    for row in torchvision.datasets.Cityscapes.classes:
        if row.id >= 0:
            assert labels.ids[row.id] == row.train_id, row.name


@pytest.mark.data
def test_cityscapes_equals_its_own_train_ids(data_dir):
    """But for pixels on edges: the two files of this small sample were scaled down each by itself."""
    data = open_dataset("cityscapes", data_dir / "cityscapes_mini", "val")
    path = data.pairs[0].mask
    with Image.open(path.with_name(path.name.replace("labelIds", "labelTrainIds"))) as stored:
        assert (data[0][1].numpy() != np.asarray(stored)).mean() < 0.003
