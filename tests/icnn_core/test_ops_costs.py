"""What a call's work is, counted by hand, and which back end that chooses on a CPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from icnn_core.ops import cpu_costs, explain
from icnn_core.ops.backends import BACKENDS
from icnn_core.ops.geometry import Geometry, regular_slots
from icnn_core.ops.request import Request

# 2 images of 6 channels, 2 groups; 4 kernels of 3×2; outputs of 5×18: two vectors of float32 in a row, three of float64
SIZES = Geometry(2, 6, 4, (7, 18), (3, 2), (1, 1), (0, 1), (1, 2), 2)
REACH = ((-1, 3), (0, 2))  # 5 × 3 pixels
CALL = Request(
    SIZES, torch.float32, torch.device("cpu"), shared=True, gaussian=False, native=False, reach=REACH
)
PRODUCT = 2 * 4 * 3 * 6 * 5 * 18


def test_counts_are_those_of_hand():
    assert SIZES.output_size == (5, 18)
    samples = 2 * 6 * 6 * 5 * 2
    assert cpu_costs.count_work("sampled", CALL) == {"call": 1, "product": PRODUCT / 16, "samples": samples}
    planes = 2 * 4 * 6 * 7
    blended = {"call": 1, "product": planes * 18 * 3 / 16, "samples": planes * 2}
    assert cpu_costs.count_work("blended", CALL) == blended
    full = dataclasses.replace(CALL, shared=False)
    taps = 2 * 4 * 3 * 6
    assert cpu_costs.count_work("sparse", full) == {"call": 1, "taps": taps, "vectors": taps * 5 * 2}
    strided = dataclasses.replace(full, geometry=dataclasses.replace(SIZES, stride=(1, 3)))
    assert cpu_costs.count_work("sparse", strided) == {"call": 1, "taps": taps, "strided": taps * 5}
    wide = dataclasses.replace(full, gaussian=True)
    assert cpu_costs.count_work("sparse", wide) == {
        "call": 1, "taps": taps, "wide taps": taps, "wide": taps * 5 * 2
    }  # fmt: skip


def test_a_dense_kernel_is_counted_by_its_reach():
    one_shape = dataclasses.replace(CALL, one_shape=True)
    # groups of 2 kernels, where 16 would take as long
    expected = {"call": 1, "built": 4 * 3 * 15 * 6 / 16, "axes": 6 * 8, "grouped": PRODUCT / 6 * 15 * 8 / 16}
    assert cpu_costs.count_work("dense", one_shape) == pytest.approx(expected)
    precise = dataclasses.replace(CALL, dtype=torch.float64, gaussian=True)
    expected = {"call": 1, "built": 4 * 3 * 15 * 6 / 8, "axes": 6 * 6 * 8 * 8}
    expected |= {"product64": PRODUCT / 6 * 15 / 8, "column64": 2 * 6 * 5 * 18 * 15}
    assert cpu_costs.count_work("dense", precise) == pytest.approx(expected)
    assert cpu_costs.count_work("dense", dataclasses.replace(CALL, shared=False))["pairs"] == 4 * 3
    ungrouped = dataclasses.replace(CALL, geometry=dataclasses.replace(SIZES, groups=1, out_channels=17))
    counted = cpu_costs.count_work("dense", ungrouped)["product"]
    assert counted == pytest.approx(2 * 32 * 6 * 15 * 5 * 18 / 16)


def test_a_column_of_matrices_is_as_large_as_the_shapes_it_holds():
    shared, full = (
        cpu_costs.count_work("gathered", dataclasses.replace(CALL, shared=shared)) for shared in (True, False)
    )
    planes = 2 * 6 * 6
    assert shared["moved"] == planes * 5 * (18 + 18)
    assert shared["small products"] == planes * 5 * 18 * (7 + 18) / 16
    assert {kind: full[kind] / shared[kind] for kind in full} == {
        "call": 1, "small products": 2, "moved": 2, "product": 1
    }  # fmt: skip


def test_every_kind_of_work_has_a_rate():
    gaussian, full, precise, grouped = {"gaussian": True}, {"shared": False}, {"dtype": torch.float64}, SIZES
    some = [
        {},
        gaussian,
        full,
        full | gaussian,
        precise,
        {"geometry": dataclasses.replace(grouped, groups=1)},
    ]
    some.append(full | {"geometry": dataclasses.replace(SIZES, stride=(2, 1))})
    for name, rates in cpu_costs.RATES.items():
        seen = set()
        for changes in some:
            seen |= set(cpu_costs.count_work(name, dataclasses.replace(CALL, **changes)))
        assert seen == set(rates)
        assert all(rate > 0 for rate in rates.values())


def test_costs_are_sums_and_without_a_reach_there_is_no_dense_kernel():
    rates, work = cpu_costs.RATES["sampled"], cpu_costs.count_work("sampled", CALL)
    assert BACKENDS["sampled"].cost(CALL) == pytest.approx(sum(rates[kind] * work[kind] for kind in work))
    rates, work = cpu_costs.RATES["dense"], cpu_costs.count_work("dense", CALL)
    assert BACKENDS["dense"].cost(CALL) == pytest.approx(1.5 * sum(rates[kind] * work[kind] for kind in work))
    assert BACKENDS["dense"].cost(CALL.with_reach(None)) == float("inf")


CHOICES = {  # batch, channels, kernels, size, kernel size, spread, back end; the full version
    "the reach makes a dense kernel large": (1, 64, 64, (41, 41), 3, 0.5, "sparse"),
    "far positions": (1, 64, 64, (41, 41), 3, 4.0, "sparse"),
    "many taps close together": (8, 128, 128, (28, 25), 7, 0.03, "dense"),
    "few pixels, positions beyond them": (2, 64, 48, (5, 6), 3, 6.0, "sparse"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_full_version_is_served_by_what_is_quickest(name):
    pytest.importorskip("numba", reason="Numba is not installed")
    batch, channels, kernels, size, kernel, spread, expected = CHOICES[name]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(kernels, channels, kernel**2, 2, generator=generator)
    positions = regular_slots((kernel, kernel), (1, 1)) + spread * noise
    x, weight = torch.zeros(batch, channels, *size), torch.zeros(kernels, channels, kernel, kernel)
    assert explain(x, weight, positions, padding=kernel // 2).backend == expected
