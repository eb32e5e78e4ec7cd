"""Positions on the lattice of pixels: counted by hand, and no more than chance gives where nothing pins them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.layers import measure_layers
from icnn_viz.statistics.pinning import measure_corners, measure_pinning

SLOTS = np.stack(np.meshgrid([-1.5, 1.5], [-2.0, 0.0, 2.0], indexing="ij"), -1).reshape(-1, 2)


def cloud_of(displacements):
    positions = (SLOTS + displacements)[None]
    return PositionCloud("l", 0, (2, 3), (3, 2), "channel", SLOTS, positions, np.ones(positions.shape[:-1]))


def test_coordinates_near_other_lattice_lines_counted_by_hand():
    moves = np.zeros((6, 6, 2))
    moves[:, 0] = [1.01, -2.1]  # one near a line, one around one
    moves[:, 1] = [0.01, 0.3]  # at its own slot, and between lines
    moves[:, 2] = [-0.99, 1.14]
    moves[0, 3] = np.nan
    row = measure_pinning(cloud_of(moves))  # 12 of 24 within 0.02, where 2/15 of 24 were expected
    assert row["pinning"] == pytest.approx(0.5 / (2 / 15))
    assert row["pinning_low"] == pytest.approx(0.5 / (2 / 15))  # all shapes alike


@pytest.mark.parametrize("spread", [0.6, 1.5])
def test_nothing_pinned_is_1_and_the_interval_holds_it(spread):
    rng = np.random.default_rng(0)
    rows = [measure_pinning(cloud_of(spread * rng.standard_normal((200, 6, 2)))) for _ in range(150)]
    assert np.mean([row["pinning"] for row in rows]) == pytest.approx(1, abs=0.05)
    assert 0.9 <= np.mean([row["pinning_low"] <= 1 <= row["pinning_high"] for row in rows]) <= 0.99


def test_an_eighth_on_the_lattice_is_found():
    rng = np.random.default_rng(0)
    moves = 1.5 * rng.standard_normal((200, 6, 2))
    pinned = np.where(rng.random(moves.shape) < 1 / 8, np.rint(moves), moves)
    row = measure_layers([cloud_of(pinned)]).iloc[0]
    assert row.pinning_low > 2
    assert row.pinning == pytest.approx((1 / 8 + 7 / 8 * 0.04) / (1 / 8 + 7 / 8 * 0.3) / (2 / 15), rel=0.25)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dilation", [6, 12, 24])
def test_rounding_of_what_is_kept_in_16_bits_is_no_pinning(dilation, dtype):
    rng, slots = np.random.default_rng(0), SLOTS * dilation
    for spread in (0.1, 0.6):
        rows = []
        for _ in range(40):
            exact = torch.as_tensor(slots + spread * rng.standard_normal((200, 6, 2)), dtype=dtype)
            cloud = replace(
                cloud_of(np.zeros((200, 6, 2))), slots=slots, positions=exact.double().numpy()[None]
            )
            rows.append(measure_pinning(cloud) | measure_corners(cloud))
        for name in ("pinning", "corners") if spread > 0.5 else ("corners",):
            said = [row[f"{name}_low"] > 1 for row in rows if f"{name}_low" in row]
            assert np.mean(said or [0]) <= 0.15, (name, spread)


def test_whole_pixels_were_not_rounded():
    moves = np.random.default_rng(0).integers(-2, 3, (40, 6, 2))
    row = measure_pinning(cloud_of(moves.astype(float)))
    assert row["pinning"] == pytest.approx(7.5)
    assert row["pinning_low"] == pytest.approx(7.5 * 0.025 ** (1 / 40))
    assert row["pinning_high"] == pytest.approx(7.5)


def test_an_interval_of_no_hits_is_not_certain():
    moves = np.zeros((20, 6, 2))
    moves[:, 0, 0] = np.linspace(1.05, 1.12, 20)
    row = measure_pinning(cloud_of(moves))
    assert (row["pinning"], row["pinning_low"]) == (0, 0)
    assert row["pinning_high"] == pytest.approx(7.5 * (1 - 0.025 ** (1 / 20)))


def test_no_measure_without_a_lattice_or_without_moves():
    moves = np.random.default_rng(0).standard_normal((50, 6, 2))
    assert measure_pinning(replace(cloud_of(moves), regular=False)) == {}
    assert measure_pinning(cloud_of(0.1 * moves)) == {}
    few = measure_pinning(cloud_of(np.full((4, 6, 2), 1.1)))
    assert list(few) == ["pinning"]


def test_points_on_the_diagonals_counted_by_hand():
    moves = np.zeros((6, 6, 2))
    moves[:, 0] = [-0.3, 0.3]  # on a diagonal
    moves[:, 1] = [0.3, 0.2]  # 11 degrees off it
    moves[:, 2] = [0.3, 0.22]  # 9 degrees
    moves[:, 3] = [0.03, 0.03]  # hardly moved
    moves[0, 4] = np.nan
    row = measure_corners(cloud_of(moves))  # 12 of 18, where 2/9 were expected
    assert [row[f"corners{end}"] for end in ("", "_low", "_high")] == pytest.approx([3.0] * 3)
    assert measure_corners(cloud_of(moves[:3])) == {}, "9 points are too few"


def test_round_clouds_have_no_corners_and_adams_first_steps_have():
    rng = np.random.default_rng(0)
    rows = [measure_corners(cloud_of(0.3 * rng.standard_normal((100, 6, 2)))) for _ in range(150)]
    assert np.mean([row["corners"] for row in rows]) == pytest.approx(1, abs=0.03)
    assert 0.9 <= np.mean([row["corners_low"] <= 1 <= row["corners_high"] for row in rows]) <= 0.99
    steps = 0.4 * np.sign(rng.standard_normal((100, 6, 2))) + 0.05 * rng.standard_normal((100, 6, 2))
    (layer,) = measure_layers([cloud_of(steps)]).itertuples()
    assert layer.corners_low > 3
    flat = measure_corners(cloud_of(rng.standard_normal((100, 6, 2)) * [0.1, 0.5]))
    assert flat["corners_high"] < 1
