"""Positions on the lattice of pixels: counted by hand, and no more than chance gives where nothing pins them."""

from dataclasses import replace

import numpy as np
import pytest

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.layers import measure_layers
from icnn_viz.statistics.pinning import measure_pinning

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


def test_no_measure_without_a_lattice_or_without_moves():
    moves = np.random.default_rng(0).standard_normal((50, 6, 2))
    assert measure_pinning(replace(cloud_of(moves), regular=False)) == {}
    assert measure_pinning(cloud_of(0.1 * moves)) == {}
    few = measure_pinning(cloud_of(np.full((4, 6, 2), 1.1)))
    assert list(few) == ["pinning"]
