"""Slots are paired by their places, in whatever order two files hold them; layers by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icnn_core.errors import ShapeError
from icnn_viz.records import PositionCloud
from icnn_viz.statistics.distances import compare_runs
from icnn_viz.statistics.pairing import NUMBERED, REORDERED, RESCALED, SAME, pair_slots, to_slots_of

MakeCloud = Callable[..., PositionCloud]


def _turned(cloud: PositionCloud, seed: int = 0) -> PositionCloud:
    """The same cloud, its slots written in another order."""
    order = np.random.default_rng(seed).permutation(len(cloud.slots))
    return replace(
        cloud,
        slots=cloud.slots[order],
        positions=cloud.positions[:, :, order],
        weights=cloud.weights[:, :, order],
    )


@pytest.mark.parametrize("size", [(3, 3), (3, 2), (1, 5)])
def test_another_order_of_the_slots_is_the_same_network(make_cloud: MakeCloud, size: tuple[int, int]) -> None:
    cloud = make_cloud(kernel_size=size, channels=400)
    other = _turned(cloud)
    order, pairing = pair_slots(cloud, other)
    assert pairing == REORDERED
    np.testing.assert_array_equal(other.slots[order], cloud.slots)
    table = compare_runs([cloud], [other])
    assert list(table.state) == ["equal"] * len(cloud.slots)
    assert list(table.slot_b) == list(order)
    back = to_slots_of(cloud, other)
    np.testing.assert_allclose(back.positions, cloud.positions, atol=1e-12)
    np.testing.assert_array_equal(back.weights, cloud.weights)


def test_slots_of_half_precision_are_the_same(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(dilation=(5, 24))
    half = replace(cloud, slots=cloud.slots.astype(np.float16).astype(float) + 0.01)
    assert pair_slots(cloud, half)[1] == SAME


def test_another_spacing_is_paired_by_row_and_column(make_cloud: MakeCloud) -> None:
    first, second = make_cloud(dilation=(2, 3)), _turned(make_cloud(dilation=(4, 1)))
    order, pairing = pair_slots(first, second)
    assert pairing == RESCALED
    np.testing.assert_array_equal(second.slots[order] / (4, 1), first.slots / (2, 3))
    moved = to_slots_of(first, second)
    np.testing.assert_array_equal(moved.slots, first.slots)
    np.testing.assert_allclose(moved.displacements, second.displacements[:, order], atol=1e-12)


def test_another_grid_is_refused(make_cloud: MakeCloud) -> None:
    with pytest.raises(ShapeError, match="slots of one grid"):
        pair_slots(make_cloud(kernel_size=(2, 3)), make_cloud(kernel_size=(3, 2)))
    with pytest.raises(ShapeError, match=r"got 9 and 6.*--layer"):
        pair_slots(make_cloud(), make_cloud(kernel_size=(3, 2)))


def test_without_regular_positions_slots_are_paired_by_number(make_cloud: MakeCloud) -> None:
    """Displacements from the means say nothing of a move: positions are compared."""
    cloud = make_cloud(channels=60)
    means = cloud.points.mean(0)
    first = replace(cloud, slots=means, regular=False)
    second = replace(cloud, slots=means + 5, positions=cloud.positions + 5, regular=False)
    table = compare_runs([first], [second])
    assert set(table.pairing) == {NUMBERED}
    np.testing.assert_allclose(table[["shift_y", "shift_x"]].to_numpy(float), 5.0)


def test_large_clouds_that_are_equal_are_equal(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(channels=900)
    mixed = replace(cloud, positions=cloud.positions[:, ::-1])
    assert set(compare_runs([cloud], [mixed]).state) == {"equal"}
    near = replace(cloud, positions=cloud.positions + 1e-9)
    assert compare_runs([cloud], [near]).energy_coefficient.abs().max() < 0.01


def test_all_layers_are_one_family_and_lone_ones_are_named(make_cloud: MakeCloud) -> None:
    first = [make_cloud(name, channels=30, seed=n) for n, name in enumerate(("a", "b", "only here"))]
    second = [make_cloud(name, channels=30, seed=9 + n) for n, name in enumerate(("b", "a", "only there"))]
    second[0].positions[0, :, 4] += 0.5
    table = compare_runs(first, second, permutations=100)
    assert list(table.state[-2:]) == ["only in the first", "only in the second"]
    assert table.layer_a.iloc[-2] == "only here"
    assert table.layer_b.iloc[-1] == "only there"
    both = table[table.p.notna()]
    assert list(both.layer_a) == ["a"] * 9 + ["b"] * 9
    assert list(both.layer_b) == list(both.layer_a)
    p = np.sort(both.p.to_numpy(float))
    q = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]  # Benjamini and Hochberg
    np.testing.assert_allclose(np.sort(both.q.to_numpy(float)), q)
