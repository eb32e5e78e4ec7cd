"""Claims on trainings and receptive fields: verdicts on tables whose truth is known, and nothing without data."""

import numpy as np
import pandas as pd
import pytest

from icnn_viz.records import PositionCloud
from icnn_viz.statistics.effects import RULES, judge_effects

HOLDS, FAILS, UNSAID = "holds", "does not hold", "cannot be said here"
GROWS, BOTH, LARGER, TWO, OVERFITS = range(5)


def ablation(means, gaps=None):
    rng = np.random.default_rng(0)
    rows = []
    for row, mean in means.items():
        for seed in range(4):
            score = mean + 0.002 * rng.standard_normal()
            rows.append({"variant": row, "seed": seed, "mean_iou": score})
            if gaps:
                rows[-1]["train_iou"] = score + gaps[row] + 0.001 * rng.standard_normal()
    return pd.DataFrame(rows)


def verdicts(*args, **kwargs):
    return judge_effects(*args, permutations=100, **kwargs).verdict.tolist()


def test_without_data_nothing_is_said():
    table = judge_effects()
    assert table.verdict.tolist() == [UNSAID] * 5
    assert table.claim.tolist() == list(RULES)
    assert table.number.isna().all()


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.01, 0.04, 0.045, 0.05), HOLDS),
        ((0.01, 0.03, 0.06, 0.1), FAILS),
        ((0.03, 0.03, 0.03, 0.03), FAILS),
    ],
)
def test_a_gain_that_grows_and_saturates(gains, verdict):
    means = {"none": 0.3} | {f"from {n}": 0.3 + gain for n, gain in enumerate(gains)}
    assert verdicts(ablation=ablation(means))[GROWS] == verdict
    few = {name: means[name] for name in ("none", "from 0", "from 3")}
    assert verdicts(ablation=ablation(few))[GROWS] == UNSAID
    trained_on = {"none": means["none"], "continued": 0.2} | means  # a regular row of --from-regular
    table = judge_effects(ablation=ablation(trained_on))
    assert table.verdict[GROWS] == verdict
    assert table.evidence[GROWS].startswith("from from 0 to from 1")


def test_gaps_between_training_and_other_images():
    means = {"none": 0.3, "all": 0.35}
    assert verdicts(ablation=ablation(means, {"none": 0.1, "all": 0.1}))[OVERFITS] == HOLDS
    assert verdicts(ablation=ablation(means, {"none": 0.1, "all": 0.15}))[OVERFITS] == FAILS


def test_a_column_of_nothing_is_not_measured():
    table = judge_effects(ablation=ablation({"none": 0.3, "all": 0.35}).assign(train_iou=None))
    assert table.evidence[OVERFITS] == "mean IoU on training images was not measured"


def test_two_regular_kernels():
    assert verdicts(ablation=ablation({"none": 0.3, "all": 0.35, "two-regular": 0.35}))[TWO] == HOLDS
    assert verdicts(ablation=ablation({"none": 0.3, "all": 0.35, "two-regular": 0.31}))[TWO] == FAILS
    table = judge_effects(ablation=ablation({"none": 0.3, "all": 0.25, "two-regular": 0.35}))
    assert table.evidence[TWO].startswith("all less two-regular −"), "a minus, not a hyphen"


@pytest.mark.parametrize(
    ("difference", "low", "high", "verdict"),
    [(9.0, 5.0, 13.0, HOLDS), (1.0, -0.3, 2.2, FAILS), (4.0, -1.0, 9.0, UNSAID)],
)
def test_the_radius_against_snapped_positions(difference, low, high, verdict):
    row = {
        "measure": "radius_of_gyration",
        "group": "all",
        "against": "irregular, snapped to slots",
        "images": 9,
    }
    survey = pd.DataFrame([row | {"second": 160.0, "difference": difference, "low": low, "high": high}])
    assert verdicts(survey=survey)[LARGER] == verdict
    assert verdicts(survey=survey.assign(against="regular"))[LARGER] == UNSAID


def test_wide_and_narrow_slots():
    slots = np.stack([np.zeros(5), 3.0 * np.arange(-2, 3)], 1)
    for widths, verdict in ((np.linspace(1, 2, 5), HOLDS), (np.ones(5), FAILS)):
        moves = np.random.default_rng(0).standard_normal((200, 5, 2)) * widths[:, None]
        cloud = PositionCloud(
            "l", 0, (1, 5), (1, 3), "channel", slots, (slots + moves)[None], np.ones((1, 200, 5))
        )
        assert verdicts([cloud])[BOTH] == verdict
        cloud.positions[0, 99:] = np.nan
        assert verdicts([cloud])[BOTH] == UNSAID


def test_variants_are_no_rows_and_the_irregular_one_is_taken_by_its_name():
    means = {"regular": 0.3, "irregular": 0.35, "permuted": 0.33, "thrown": 0.32, "deformable": 0.36}
    gaps = dict.fromkeys(means, 0.1) | {"irregular": 0.15}
    table = judge_effects(ablation=ablation(means, gaps), against="regular")
    assert table.verdict[GROWS] == UNSAID
    assert "not rows of an ablation" in table.evidence[GROWS]
    assert table.verdict[OVERFITS] == FAILS
    assert "gap of irregular less that of regular" in table.evidence[OVERFITS]


def test_variants_that_learn_no_positions_say_nothing_of_irregular_ones():
    means = {
        "regular": 0.3,
        "dilation-0.5": 0.35,
        "regular-5x5": 0.3,
        "two-regular": 0.3,
        "thrown": 0.3,
        "permuted": 0.3,
    }
    gaps = dict.fromkeys(means, 0.1) | {"dilation-0.5": 0.2}
    table = judge_effects(ablation=ablation(means, gaps), against="regular")
    assert table.verdict[[TWO, OVERFITS]].tolist() == [UNSAID] * 2
    learnt = means | {"sharing-none": 0.3}
    table = judge_effects(ablation=ablation(learnt, gaps | {"sharing-none": 0.1}), against="regular")
    assert table.verdict[[TWO, OVERFITS]].tolist() == [HOLDS] * 2
    assert "sharing-none less two-regular" in table.evidence[TWO]
