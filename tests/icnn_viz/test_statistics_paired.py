"""Paired differences: by hand, their intervals' coverage, and what does not count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from icnn_core.errors import ArgumentError, NameNotFoundError
from icnn_viz.statistics.paired import compare_pairs, image_interval


def make_table(first: list[float], second: list[float], images: list[int], label: list[str]) -> pd.DataFrame:
    count = len(first)
    ids = list(range(count))
    return pd.DataFrame(
        {
            "pixel_id": ids + ids[::-1],
            "image": images + images[::-1],
            "label": label + label[::-1],
            "model": ["a"] * count + ["b"] * count,
            "gain": first + second[::-1],
        }
    )


def test_differences_by_hand() -> None:
    table = make_table([1, 5, 2, 8], [0, 7, 1, 4], [0, 0, 1, 2], ["x", "x", "y", "y"])
    found = compare_pairs(table, "a", "b", ["gain"], ["label"])
    assert list(found["stratum"]) == ["all", "x", "y"]
    assert list(found["pixels"]) == [4, 2, 2]
    assert list(found["images"]) == [3, 1, 2]
    np.testing.assert_allclose(found["first"].astype(float), [4, 3, 5])
    np.testing.assert_allclose(found["difference"].astype(float), [1, -0.5, 2.5])
    np.testing.assert_allclose(found["share_higher"].astype(float), [0.75, 0.5, 1])
    assert set(found["model"]) == {"a"}
    assert set(found["against"]) == {"b"}
    whole, single, pair = found.to_dict("records")
    assert pd.isna(whole["high"])  # three images
    assert pd.isna(single["low"])
    assert pd.isna(pair["low"])


def test_strata_come_in_the_order_of_categories() -> None:
    table = make_table([1, 5, 2], [0, 7, 1], [0, 1, 2], ["far", "near", "middle"])
    table["label"] = pd.Categorical(table["label"], ["near", "middle", "far", "nowhere"])
    assert list(compare_pairs(table, "a", "b", ["gain"], ["label"])["stratum"]) == [
        "all",
        "near",
        "middle",
        "far",
    ]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_pixel_without_a_group_is_in_no_stratum(missing: object) -> None:
    table = make_table([1, 5, 2], [0, 7, 1], [0, 1, 2], ["x", "x", "y"])
    table["label"] = table["label"].astype(object).where(table["label"] != "y", missing)
    found = compare_pairs(table, "a", "b", ["gain"], ["label"])
    assert found[["stratum", "pixels"]].to_numpy().tolist() == [["all", 3], ["x", 2]]


def test_values_that_are_not_finite_do_not_count() -> None:
    table = make_table([1, np.inf, 3], [0, 1, np.nan], [0, 1, 2], ["x"] * 3)
    (row,) = compare_pairs(table, "a", "b", ["gain"]).to_dict("records")
    assert (row["pixels"], row["difference"]) == (1, 1)
    table["gain"] = np.nan
    (row,) = compare_pairs(table, "a", "b", ["gain"]).to_dict("records")
    assert row["pixels"] == 0
    assert pd.isna(row["difference"])


def test_a_pixel_with_one_network_alone_does_not_count() -> None:
    table = make_table([1, 5], [0, 7], [0, 1], ["x", "x"]).iloc[:-1]
    (row,) = compare_pairs(table, "a", "b", ["gain"]).to_dict("records")
    assert row["pixels"] == 1


def test_intervals_cover_though_pixels_of_an_image_go_together() -> None:
    """40 images of 5 pixels that share their image's deviation: 95 % intervals must cover 0 about 95 times
    in 100."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        difference = np.repeat(rng.normal(size=40), 5) + 0.1 * rng.normal(size=200)
        images, ids = np.repeat(np.arange(40), 5), np.arange(200)
        table = pd.DataFrame(
            {
                "pixel_id": np.tile(ids, 2),
                "image": np.tile(images, 2),
                "model": np.repeat(["a", "b"], 200),
                "gain": np.concatenate([difference, np.zeros(200)]),
            }
        )
        row = compare_pairs(table, "a", "b", ["gain"], resamples=400).iloc[0]
        covered += row["low"] <= 0 <= row["high"]
    assert 0.89 <= covered / 200 <= 0.98


@pytest.mark.parametrize("images", [5, 10, 20])
@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_intervals_over_few_images_cover_as_often_as_they_say(images: int, law: str) -> None:
    """A percentile bootstrap covers 82 % here for 5 images, 88 % for 10."""
    rng = np.random.default_rng(0)
    sizes, covered = np.full(images, 3), 0
    for _ in range(400):
        means = rng.normal(size=images) if law == "normal" else rng.exponential(size=images) - 1
        low, high = image_interval(3 * means, sizes, resamples=400, level=0.95, rng=rng) or (0, 0)
        covered += low <= 0 <= high
    assert 0.92 <= covered / 400 <= 0.985


def test_an_interval_of_equal_images_is_at_least_students() -> None:
    values = np.array([0.3, -0.2, 1.1, 0.9, 0.4, 0.0, 0.7])
    student = stats.t.interval(0.9, 6, values.mean(), values.std(ddof=1) / np.sqrt(7))
    rng = np.random.default_rng(0)
    low, high = image_interval(values, np.ones(7, int), resamples=50, level=0.9, rng=rng) or (0, 0)
    assert low <= student[0] + 1e-12
    assert high >= student[1] - 1e-12
    alike = image_interval(np.ones(7) * 4, np.full(7, 2), resamples=50, level=0.9, rng=rng)
    assert alike == pytest.approx((2, 2))


def test_few_images_and_one_that_outweighs_the_others_have_no_interval() -> None:
    rng = np.random.default_rng(0)
    options = {"resamples": 50, "level": 0.95, "rng": rng}
    assert image_interval(rng.normal(size=4), np.ones(4, int), **options) is None
    assert image_interval(rng.normal(size=5), np.ones(5, int), **options) is not None
    heavy = np.array([50, 1, 1, 1, 1, 1, 1, 1])
    assert image_interval(rng.normal(size=8), heavy, **options) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    table = make_table(list(np.arange(20.0) ** 1.5), [0.0] * 20, list(range(20)), ["x"] * 20)
    once, again, other = (compare_pairs(table, "a", "b", ["gain"], seed=s).iloc[0]["high"] for s in (1, 1, 2))
    assert once == again != other


def test_what_is_refused() -> None:
    table = make_table([1, 5], [0, 7], [0, 1], ["x", "x"])
    with pytest.raises(NameNotFoundError, match="Did you mean gain"):
        compare_pairs(table, "a", "b", ["gian"])
    with pytest.raises(NameNotFoundError, match="model"):
        compare_pairs(table, "a", "c", ["gain"])
    with pytest.raises(ArgumentError, match="level"):
        compare_pairs(table, "a", "b", ["gain"], level=95)
