"""Pairs of files: every way in which images and masks on disk can be wrong, each an error that names the file."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from icnn_core.datasets import images
from icnn_core.datasets.labels import to_label_set
from icnn_core.datasets.listing import Pair, list_pairs, read_stems
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.errors import DataError

LABELS = to_label_set(
    "toy", ("ground", "leaf", "stem"), [(0, 0, 0), (1, 2, 3), (4, 5, 6)], (0, 1, 7), (9, 255)
)
SIZE = (14, 23)


def _write_rgb(path, seed=0, size=SIZE):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)


def _write_mask(path, size=SIZE, values=(0, 1, 7, 9, 255)):
    numbers = np.resize(np.array(values, np.uint8), size)
    Image.fromarray(numbers).save(path)
    return numbers


@pytest.fixture
def folder(tmp_path):
    """Three images and their masks; the test may spoil some."""
    for name in ("image", "mask"):
        (tmp_path / name).mkdir()
    for i, stem in enumerate("abc"):
        _write_rgb(tmp_path / "image" / f"{stem}.png", i)
        _write_mask(tmp_path / "mask" / f"{stem}.png")
    return tmp_path


def _open(folder, **options):
    return PairsDataset(list_pairs("toy", folder / "image", folder / "mask"), LABELS, **options)


def test_images_come_as_they_are_and_numbers_become_classes(folder):
    image, mask = _open(folder)[1]
    with Image.open(folder / "image" / "b.png") as stored:
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(stored))
    assert (image.dtype, mask.dtype) == (torch.uint8, torch.int64)
    assert image.is_contiguous()
    assert mask.flatten()[:5].tolist() == [0, 1, 2, 255, 255]
    data = _open(folder)
    assert ([p.stem for p in data.pairs], data.name, data.ignore_index) == (["a", "b", "c"], "toy", 255)


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_masks_of_any_single_channel_give_their_numbers(folder, mode):
    path = folder / "mask" / "a.png"
    numbers = np.resize(np.array([0, 1, 7], np.uint8), SIZE)
    picture = Image.fromarray(numbers.astype(np.uint16) if mode == "I;16" else numbers)
    if mode == "P":
        picture.putpalette([v for n in range(256) for v in (255 - n, n // 2, 3)])
    picture.save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    assert _open(folder)[0][1].flatten()[:4].tolist() == [0, 1, 2, 0]


def test_a_mask_of_one_bit_holds_0_and_1(folder):
    Image.fromarray(np.resize([False, True], SIZE)).save(folder / "mask" / "a.png")
    assert _open(folder)[0][1].flatten()[:3].tolist() == [0, 1, 0]


def test_a_mask_in_colours_is_refused(folder):
    _write_rgb(folder / "mask" / "c.png")
    with pytest.raises(DataError, match=r"c\.png.*class ids.*mode RGB"):
        _open(folder)[2]


def test_a_mask_of_another_size_is_refused_with_both_sizes(folder):
    _write_mask(folder / "mask" / "b.png", (SIZE[1], SIZE[0]))
    with pytest.raises(DataError, match=r"mask .*b\.png: needs .*23 × 14 \(width × height\); got 14 × 23"):
        _open(folder)[1]


def test_a_picture_too_large_to_be_honest_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"a\.png.*decompression bomb"):
        _open(folder)[0]


@pytest.mark.parametrize(
    ("values", "said"), [((0, 8), "8"), ((0, 2, 3, 4, 5, 6), "2, 3, 4 and 2 more"), ((10,), "10")]
)
def test_a_number_that_is_no_class_is_named(folder, values, said):
    _write_mask(folder / "mask" / "b.png", values=values)
    with pytest.raises(DataError) as caught:
        _open(folder)[1]
    assert f"got {said} (known: 0–1, 7, 9, 255)" in str(caught.value)


def test_a_number_beyond_8_bits_is_named(folder):
    Image.fromarray(np.full(SIZE, 30000, np.uint16)).save(folder / "mask" / "b.png")
    with pytest.raises(DataError, match="got 30000"):
        _open(folder)[1]


def _spoil(folder, how):
    """Replace a's PNG by a JPEG and damage it."""
    path = folder / "image" / "a.jpg"
    _write_rgb(path, size=SIZE)
    (folder / "image" / "a.png").unlink()
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"an HTML page, most likely"}[how]
    )
    return path


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_a_damaged_image_is_an_error_or_on_request_void(folder, how):
    path = _spoil(folder, how)
    with pytest.raises(DataError, match=r"a\.jpg.*--skip-bad"):
        _open(folder)[0]
    data = _open(folder, skip_bad=True)
    image, mask = data[0]
    assert (mask == 255).all()
    assert image.shape[1:] == mask.shape == SIZE
    assert (data[1][1] != 255).any()
    assert data.skipped == [path]


def test_a_damaged_mask_is_skipped_too(folder):
    path = folder / "mask" / "b.png"
    path.write_bytes(path.read_bytes()[:60])
    data = _open(folder, skip_bad=True)
    assert (data[1][1] == 255).all()
    assert data.skipped == [folder / "image" / "b.png"]


def test_what_workers_skip_is_seen_by_the_one_who_asked(folder):
    path = _spoil(folder, "cut")
    data = _open(folder, skip_bad=True)
    batches = list(DataLoader(data, batch_size=3, num_workers=1))
    assert (batches[0][1][0] == 255).all()
    assert data.skipped == [path]


def test_a_file_that_vanished_is_named(folder):
    data = _open(folder, skip_bad=True)
    (folder / "image" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        data[0]


@pytest.mark.parametrize(
    ("lost", "said"), [("image/b.png", "for every mask"), ("mask/b.png", "for every image")]
)
def test_files_without_partners_are_named(folder, lost, said):
    (folder / lost).unlink()
    with pytest.raises(DataError, match=rf"{said}; got none for 1 of 3: b\."):
        _open(folder)


def test_missing_and_empty_folders_are_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"masks: needs this folder; got nothing there; .* holds image, mask"):
        list_pairs("toy", folder / "image", folder / "masks")
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="got none in this folder"):
        list_pairs("toy", tmp_path / "x", tmp_path / "y")


def test_two_files_of_one_stem_are_named(folder):
    _write_rgb(folder / "image" / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg and a\.png"):
        _open(folder)


def test_other_files_are_left_alone(folder):
    (folder / "image" / "Thumbs.db").write_bytes(b"x")
    (folder / "image" / ".a.png").write_bytes(b"x")
    assert len(_open(folder)) == 3


def test_lists_choose_and_order(folder):
    (folder / "list.txt").write_text("c\n\n/somewhere/a.png /elsewhere/a.png\nimg.v2\n")
    assert read_stems("toy", folder / "list.txt") == ["c", "a", "img.v2"]
    pairs = list_pairs("toy", folder / "image", folder / "mask", ["c", "a"])
    assert pairs[1] == Pair("a", folder / "image" / "a.png", folder / "mask" / "a.png")
    with pytest.raises(DataError, match="every name of the split; got none for 1 of 2: d"):
        list_pairs("toy", folder / "image", folder / "mask", ["d", "a"])
    for text in (None, "\n"):
        path = folder / "empty.txt"
        if text is not None:
            path.write_text(text)
        with pytest.raises(DataError, match=r"empty\.txt"):
            read_stems("toy", path)


def test_sizes_come_from_headers(folder, tmp_path):
    assert images.read_size(folder / "image" / "a.png") == SIZE
    assert images.read_size(tmp_path / "nothing.png") is None
