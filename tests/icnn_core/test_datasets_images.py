"""The one reader of images: what viewers show is what is trained on, measured and looked at, or it is refused."""

import contextlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from icnn_core.datasets import images
from icnn_core.datasets.images import UnreadableError, read_image, read_mask
from icnn_core.datasets.labels import to_label_set
from icnn_core.datasets.listing import Pair
from icnn_core.datasets.pairs import PairsDataset
from icnn_core.errors import DataError

SIZE = (14, 23)
_TURNS = {  # how viewers turn a picture by its EXIF orientation, by numpy
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def ramp(size=SIZE):
    y, x = np.indices(size)
    return np.stack([y * 16, x * 10, y * 0 + 40], -1).astype(np.uint8)


def png(width, height, bits, colour, rows):
    """A PNG by hand: Pillow reads kinds that it does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", _TURNS)
@pytest.mark.parametrize("size", [SIZE, (16, 16)])
def test_pictures_are_turned_as_viewers_turn_them(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(ramp(size)).save(path, exif=exif)
    upright = read_image(path)
    assert np.array_equal(upright.permute(1, 2, 0), _TURNS[orientation](ramp(size)))
    assert images.read_size(path) == tuple(upright.shape[1:])
    assert images.is_stored_turned(path) == (orientation != 1)


def _turned_pair(tmp_path, mask):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    pair = Pair("a", tmp_path / "a.jpg", tmp_path / "a.png")
    stored = np.rot90(ramp())  # so that viewers see the ramp
    Image.fromarray(np.ascontiguousarray(stored)).save(pair.image, exif=exif)
    Image.fromarray(mask).save(pair.mask)
    return PairsDataset([pair], to_label_set("toy", ("a", "b"), [(0, 0, 0), (9, 9, 9)], (0, 1)))


def test_a_mask_drawn_on_the_turned_picture_lies_on_it(tmp_path):
    mask = (ramp()[..., 0] > 100).astype(np.uint8)
    image, labels = _turned_pair(tmp_path, mask)[0]
    assert image.shape == (3, *SIZE)
    assert torch.equal(labels, torch.from_numpy(mask).long())
    assert ((image[0] > 104) == (labels == 1)).float().mean() > 0.95  # JPEG moves the edge a little


def test_a_mask_that_does_not_follow_its_turned_picture_is_refused_with_the_fix(tmp_path):
    data = _turned_pair(tmp_path, np.zeros(SIZE[::-1], np.uint8))
    with pytest.raises(DataError, match=r"a\.png.*23 × 14.*got 14 × 23.*EXIF.*turn the mask likewise"):
        data[0]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr"])
def test_other_kinds_become_what_viewers_show(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    picture = Image.fromarray(ramp()).convert(mode)
    picture.save(path)
    assert np.array_equal(read_image(path).permute(1, 2, 0), np.asarray(picture.convert("RGB")))


def test_16_bits_are_scaled_by_their_range_and_said(tmp_path, caplog):
    values = np.arange(14 * 23).reshape(SIZE) * 203
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "grey.png")
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "grey.tif")
    rows = [np.stack([row] * 3, -1).astype(">u2").tobytes() for row in values]
    (tmp_path / "colour.png").write_bytes(png(*SIZE[::-1], 16, 2, rows))
    for name in ("grey.png", "grey.tif", "colour.png"):
        got = read_image(tmp_path / name)
        assert np.abs(got.numpy() - values / 65535 * 255).max() <= 1
    assert [r.message for r in caplog.records] == [
        f"image {tmp_path / name} has 16 bits a channel: scaled to 8 by their range (65535 is white)"
        for name in ("grey.png", "grey.tif", "colour.png")
    ]


def test_16_bits_of_12_say_how_dark_they_are(tmp_path, caplog):
    Image.fromarray(np.full(SIZE, 4095, np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").max() == 16
    assert "nothing in it is brighter than 16 of 255" in caplog.text


def data_of(tmp_path, name, *orientations, size=SIZE, bits=8):
    """A data set of an image a file, each turned by its EXIF, with a mask of the size that viewers show."""
    pairs = []
    for number, orientation in enumerate(orientations):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        pair = Pair(f"{number}", tmp_path / f"{name}{number}.png", tmp_path / f"{name}{number}-mask.png")
        values = ramp(size)[..., 0].astype(np.uint16 if bits == 16 else np.uint8)
        Image.fromarray(values).save(pair.image, exif=exif)
        Image.fromarray(np.zeros(size if orientation < 5 else size[::-1], np.uint8)).save(pair.mask)
        pairs.append(pair)
    return PairsDataset(pairs, to_label_set(name, ("a", "b"), [(0, 0, 0), (9, 9, 9)], (0, 1)))


def test_a_data_set_says_once_what_it_does_to_all_such_images(tmp_path, caplog):
    for name in ("one", "two"):
        data = data_of(tmp_path, name, 1, 1, 1, bits=16)
        for _ in torch.utils.data.DataLoader(data, batch_size=None):
            pass
        data[0]
    assert [r.message.partition(" has 16 bits")[0] for r in caplog.records] == [
        f"image {tmp_path / 'one0.png'}",
        f"image {tmp_path / 'two0.png'}",
    ]
    assert caplog.records[1].message.endswith("so are all such images of two")


@pytest.mark.parametrize(
    ("size", "orientations", "first"),
    [(SIZE, (1, 6, 8, 3, 2), 3), ((16, 16), (1, 6, 3), 1), (SIZE, (1, 5, 6, 7, 8), None)],
)
def test_turns_that_the_size_of_a_mask_cannot_tell_are_said_once(tmp_path, caplog, size, orientations, first):
    data = data_of(tmp_path, "toy", *orientations, size=size)
    for index in range(len(data)):
        data[index]
    said = [] if first is None else [f"toy{first}.png is shown turned, as its EXIF says (orientation"]
    assert [text in r.message for text, r in zip(said, caplog.records, strict=True)] == [True] * len(said)
    if said:
        assert "masks of toy are taken to lie on images as shown" in caplog.text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(SIZE, np.nan, np.float32), "32-bit floats"),
        (ramp()[..., 0].astype(np.float32) / 255, "32-bit floats"),
        (ramp()[..., 0].astype(np.int32) * 1000, "32-bit integers"),
    ],
)
def test_values_without_a_white_are_refused_with_a_fix_that_works(tmp_path, values, said):
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=said) as caught:
        read_image(path)
    assert not isinstance(caught.value, UnreadableError)
    fix = str(caught.value).partition("8 bits: ")[2].rstrip(".")
    if np.isfinite(values).all():
        black, white = values.min(), values.max()
        eight = eval(fix, {"np": np, "values": values, "black": black, "white": white})
        assert (eight.min(), eight.max()) == (0, 255)


def test_a_tiff_of_many_pages_is_no_picture_of_its_first(tmp_path):
    """Stacks of channels are stored so; the first alone would be trained on without a word."""
    pages = [Image.new("L", size, shade) for size, shade in (((9, 7), 10), ((9, 7), 20), ((4, 3), 30))]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    for read in (read_image, read_mask):
        with pytest.raises(
            DataError, match=r"needs one picture; got a stack of pages.*--reader tifffile:imread"
        ):
            read(tmp_path / "stack.tif")
    pages[0].save(tmp_path / "previews.tif", save_all=True, append_images=pages[2:])
    assert torch.equal(read_image(tmp_path / "previews.tif"), torch.full((3, 7, 9), 10, dtype=torch.uint8))
    assert read_mask(tmp_path / "previews.tif").shape == (7, 9)


def test_transparent_pixels_are_refused(tmp_path):
    picture = Image.fromarray(ramp()).convert("RGBA")
    picture.putpixel((3, 4), (1, 2, 3, 200))
    picture.save(tmp_path / "a.png")
    with pytest.raises(DataError, match="transparent"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_masks_hold_the_numbers_that_are_stored(tmp_path, bits):
    numbers = np.resize(np.arange(min(2**bits, 21)), SIZE)
    per_byte = 8 // bits
    padded = np.pad(numbers, ((0, 0), (0, -SIZE[1] % per_byte))).reshape(SIZE[0], -1, per_byte)
    rows = (padded << np.arange(per_byte)[::-1] * bits).sum(-1).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(*SIZE[::-1], bits, 0, [row.tobytes() for row in rows]))
    assert np.array_equal(read_mask(tmp_path / "a.png"), numbers)


def test_a_mask_whose_0_is_called_white_keeps_its_numbers(tmp_path):
    numbers = np.resize(np.arange(9), SIZE).astype(np.uint8)
    Image.fromarray(255 - numbers).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as stored:
        assert stored.tile[0][3][0] == "L;I"
        inverted = 255 - np.asarray(stored)
    assert np.array_equal(read_mask(tmp_path / "a.tif"), inverted)


def test_a_mask_that_jpeg_has_blurred_is_refused(tmp_path):
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="a JPEG, which blurs them"):
        read_mask(tmp_path / "a.jpg")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, said in (("pipe", "a pipe"), ("folder", "a folder"), ("zero", "a device"), ("none", "nothing")):
        with pytest.raises(DataError, match=rf"{name}\.png.*got {said}"):
            read(tmp_path / f"{name}.png")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_header_that_declares_too_much_is_refused_before_a_pixel_is_decoded(tmp_path, read):
    (tmp_path / "a.png").write_bytes(png(30_000, 30_000, 8, 0, [b"\0"]))
    with pytest.raises(UnreadableError, match="decompression bomb"):
        read(tmp_path / "a.png")
    assert images.read_size(tmp_path / "a.png") is None
    (tmp_path / "b.png").write_bytes(png(9000, 100, 8, 0, [b"\0"]))
    with pytest.raises(DataError, match="at most 4096 pixels along each side; got 9000 × 100"):
        read(tmp_path / "b.png", 4096)


def test_no_decoder_is_tried_that_runs_a_program(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UnreadableError, match="no image"):
        read_image(tmp_path / "a.png")


def test_damaged_bytes_of_every_kind_are_one_error(tmp_path):
    """Single bytes changed all over files of each format: an image comes out, or the reader's own error."""
    rng = np.random.default_rng(0)
    for format_ in ("PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG"):
        whole = io.BytesIO()
        Image.fromarray(ramp()).save(whole, format_)
        for place in rng.integers(0, len(whole.getvalue()), 25):
            data = bytearray(whole.getvalue())
            data[place] ^= int(rng.integers(1, 256))
            (tmp_path / "a.png").write_bytes(data)
            with contextlib.suppress(DataError):  # anything else fails this test
                assert read_image(tmp_path / "a.png").dtype == torch.uint8
