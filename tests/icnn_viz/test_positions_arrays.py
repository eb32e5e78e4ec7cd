"""Arrays and .npz files: what fits together, slots, taps in another order."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from icnn_core.errors import ArgumentError, DataError, IcnnError, ShapeError
from icnn_viz.positions import (
    read_arrays,
    to_cloud,
)
from icnn_viz.records import PositionCloud

MakeCloud = Callable[..., PositionCloud]


@pytest.mark.parametrize(
    ("shape", "sharing"), [((6, 2), "layer"), ((5, 6, 2), "channel"), ((4, 5, 6, 2), "none")]
)
def test_the_number_of_axes_says_what_is_shared(shape: tuple[int, ...], sharing: str) -> None:
    positions = np.random.default_rng(0).normal(size=shape)
    cloud = to_cloud(positions, kernel_size=(3, 2), dilation=(1, 4), layer="mine")
    assert (cloud.sharing, cloud.layer, cloud.kernel_size) == (sharing, "mine", (3, 2))
    np.testing.assert_array_equal(cloud.positions.reshape(shape), positions)
    np.testing.assert_array_equal(cloud.slots, [(-1, -2), (-1, 2), (0, -2), (0, 2), (1, -2), (1, 2)])
    assert (cloud.weights == 1).all()


def test_a_square_kernel_needs_no_size_and_other_slots_may_be_given() -> None:
    assert to_cloud(np.zeros((7, 25, 2))).kernel_size == (5, 5)
    slots = np.random.default_rng(0).normal(size=(4, 2))
    np.testing.assert_array_equal(to_cloud(np.zeros((7, 4, 2)), slots=slots).slots, slots)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(channels, K, 2\)"):
        to_cloud(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match="3·3 positions a shape"):
        to_cloud(np.zeros((5, 8, 2)), kernel_size=(3, 3))
    with pytest.raises(ShapeError, match=r"slots \(9, 2\)"):
        to_cloud(np.zeros((5, 9, 2)), slots=np.zeros((8, 2)))
    with pytest.raises(ShapeError, match="a weight for each"):
        to_cloud(np.zeros((5, 9, 2)), weights=np.zeros((5, 8)))
    with pytest.raises(ArgumentError, match="no square"):
        to_cloud(np.zeros((5, 6, 2)))


def test_weights_have_the_axes_of_their_positions() -> None:
    positions = np.random.default_rng(0).normal(size=(3, 6, 2))
    for weights in (np.ones((6, 3)), np.ones(18), np.ones((1, 3, 6))):
        with pytest.raises(ShapeError, match=r"a weight for each position, \(3, 6\)"):
            to_cloud(positions, kernel_size=(2, 3), weights=weights)
    with pytest.raises(ShapeError, match="real numbers"):
        to_cloud(positions + 0j, kernel_size=(2, 3))


def test_size_and_dilation_come_from_the_slots() -> None:
    slots = [(y, x) for y in (-3, 0, 3) for x in (-1, 1)]
    cloud = to_cloud(np.array(slots, dtype=float), slots=np.array(slots))
    assert (cloud.kernel_size, cloud.dilation) == ((3, 2), (3, 2))
    row = to_cloud(np.zeros((6, 2)), slots=np.random.default_rng(0).normal(size=(6, 2)))
    assert row.kernel_size == (1, 6)
    with pytest.raises(ArgumentError, match="dilation"):
        to_cloud(np.zeros((9, 2)), dilation=(0, 1))
    with pytest.raises(ShapeError, match="2·2 positions"):
        to_cloud(np.zeros((6, 2)), slots=np.array(slots), kernel_size=(2, 2))


AROUND = (4, 0, 1, 2, 5, 8, 7, 6, 3)
"""The centre first, then round: the row-major tap that each comes from."""


def test_taps_in_another_order_are_told_and_put_right(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    slots = to_cloud(np.zeros((9, 2)), dilation=(2, 3)).slots
    right = slots + random.normal(scale=0.4, size=(20, 9, 2))
    weights = random.normal(size=(20, 9))
    turned, moved = right[:, AROUND], weights[:, AROUND]
    to_cloud(right, dilation=(2, 3), weights=weights, layer="mine")
    assert not caplog.records
    taken = to_cloud(turned, dilation=(2, 3), weights=moved, layer="mine")
    np.testing.assert_array_equal(taken.positions[0], turned)
    assert "another order of the taps: 1, 2, 3, 8, 0, 4, 7, 6, 5" in caplog.text
    assert "order='nearest'" in caplog.text
    np.savez(tmp_path / "taps.npz", positions=turned, dilation=(2, 3), weights=moved, order="nearest")
    for mended in (
        to_cloud(turned, dilation=(2, 3), weights=moved, order="nearest"),
        to_cloud(turned, dilation=(2, 3), weights=moved, order=np.argsort(AROUND).tolist()),
        *read_arrays(tmp_path / "taps.npz"),
    ):
        np.testing.assert_array_equal(mended.positions[0], right)
        np.testing.assert_array_equal(mended.weights[0], weights)
    with pytest.raises(ArgumentError, match="each number from 0 to 8 once"):
        to_cloud(right, order=[0, 1, 2, 3, 4, 5, 6, 7, 7])


def test_positions_beyond_all_images_are_not_finite() -> None:
    positions = np.zeros((4, 9, 2))
    positions[1, 2] = (1e300, 0.5)
    cloud = to_cloud(positions)
    assert np.isnan(cloud.positions).sum() == 1


def test_an_npz_file_holds_the_arguments(tmp_path: Path) -> None:
    positions = np.random.default_rng(1).normal(size=(3, 8, 2))
    weights = np.arange(24.0).reshape(3, 8)
    np.savez(tmp_path / "head.npz", positions=positions, kernel_size=(2, 4), dilation=(3, 1), weights=weights)
    (cloud,) = read_arrays(tmp_path / "head.npz")
    assert (cloud.layer, cloud.kernel_size, cloud.dilation) == ("head", (2, 4), (3, 1))
    np.testing.assert_array_equal(cloud.positions[0], positions)
    np.testing.assert_array_equal(cloud.weights[0], weights)


def test_broken_files_are_refused(make_cloud: MakeCloud, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", offsets=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    table = make_cloud(channels=4).to_frame()
    table.drop(columns="slot_y").to_csv(tmp_path / "short.csv", index=False)
    table.iloc[:-1].to_csv(tmp_path / "ragged.csv", index=False)
    pd.concat([table, table.iloc[:1]]).to_csv(tmp_path / "double.csv", index=False)
    for name, words in (
        ("other.npz", "named positions"),
        ("text.npz", "npz or .csv"),
        ("texts.npz", r"Did you mean .*text\.npz"),
        ("short.csv", "no slot_y"),
        ("ragged.csv", "35 rows"),
        ("double.csv", "37 rows"),
    ):
        with pytest.raises(DataError, match=words):
            read_arrays(tmp_path / name)


def _save_bytes_of_an_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((5, 9, 2)))


def _flip_a_packed_bit(path: Path) -> None:
    np.savez_compressed(path, positions=np.random.default_rng(0).normal(size=(5, 9, 2)))
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(bytes(data))


def _pack_zeros(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("positions.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (1 << 22, 9, 2)}
        )
        for _ in range(36):
            member.write(bytes(1 << 24))


def _promise(path: Path) -> None:
    """A header of eight terabytes, and nothing behind it."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("positions.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        )


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_save_bytes_of_an_array, "not a zip file"),
        (
            lambda path: zipfile.ZipFile(path, "w").writestr("positions.npy", b"no header"),
            "no arrays: positions",
        ),
        (_flip_a_packed_bit, "(CRC|decompress)"),
        (_pack_zeros, "603,979,904 bytes"),
        (_promise, "positions in a .npz"),
        (lambda path: np.savez(path, positions=np.array([{}])), "pickle"),
        (lambda path: path.mkdir(), "a folder"),
    ],
)
def test_archives_that_hold_something_else_are_refused(
    tmp_path: Path, write: Callable[[Path], object], words: str
) -> None:
    write(tmp_path / "odd.npz")
    with pytest.raises(DataError, match=words) as caught:
        read_arrays(tmp_path / "odd.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arrays",
    [
        {"positions": np.zeros((5, 9, 2), bool)},
        {"positions": np.array(["a"])},
        {"positions": np.zeros((0, 9, 2))},
        {"positions": np.zeros((9, 2)), "kernel_size": np.array([3.0, 3.0])},
        {"positions": np.zeros((9, 2)), "kernel_size": np.array(9)},
        {"positions": np.zeros((9, 2)), "kernel_size": np.array([10**9, 10**9])},
        {"positions": np.zeros((9, 2)), "slots": np.full((9, 2), np.nan)},
        {"positions": np.zeros((9, 2)), "order": np.zeros(9, int)},
        {"positions": np.zeros((9, 2)), "order": np.array("far")},
    ],
)
def test_arrays_of_other_types_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(IcnnError, match="needs"):
        read_arrays(tmp_path / "odd.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    with pytest.raises(DataError, match="pipe"):
        read_arrays(path)
    with pytest.raises(DataError, match="long"):
        read_arrays(tmp_path / ("x" * 300 + suffix))
