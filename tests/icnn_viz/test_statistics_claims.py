"""The paper's claims, each on clouds built so that the verdict is known; and the page with the rules."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from icnn_viz.records import PositionCloud
from icnn_viz.statistics import centres
from icnn_viz.statistics.claims import judge_claims
from icnn_viz.statistics.findings import find_gaussian, find_spread, find_strips, find_trend
from icnn_viz.statistics.layers import measure_layers
from icnn_viz.statistics.rules import ClaimRules

SLOTS = np.stack(np.meshgrid([-3.0, 0.0, 3.0], [-3.0, 0.0, 3.0], indexing="ij"), -1).reshape(-1, 2)
RULES = ClaimRules(permutations=100)
HOLDS, FAILS, UNSURE = "holds", "does not hold", "cannot be said here"
GAUSSIAN, CLOSE, SPREAD, DEEPER, STRIPS = range(5)


def cloud_of(displacements, depth=0):
    positions = (SLOTS + displacements)[None]
    return PositionCloud(
        f"l{depth}", depth, (3, 3), (3, 3), "channel", SLOTS, positions, np.ones(positions.shape[:-1])
    )


RADIUS = SLOTS / np.maximum(np.hypot(*SLOTS.T), 1e-9)[:, None]
RADIUS[4] = 0, 1
TANGENT = RADIUS[:, ::-1] * [-1, 1]
ALONG_X = np.tile([0.0, 1.0], (9, 1))


def network(
    elongations,
    count=300,
    widths=1.0,
    shift=0.0,
    draw=np.random.Generator.standard_normal,
    along=RADIUS,
    size=1.0,
):
    """A layer for each elongation; strips lie along the slots' radii; the slots' sizes are `widths`, the layers'
    are `size`."""
    rng = np.random.default_rng(0)
    across = along[:, ::-1] * [-1, 1]
    clouds = []
    for depth, (elongation, scale) in enumerate(np.broadcast(elongations, size)):
        points = 0.6 * scale * draw(rng, size=(count, 9, 2)) * [1 / np.sqrt(elongation), np.sqrt(elongation)]
        points = points[..., :1] * across + points[..., 1:] * along
        clouds.append(cloud_of(points * np.reshape(widths, (-1, 1)) + shift, depth))
    return clouds


def verdicts(clouds, rules=RULES):
    return list(judge_claims(clouds, rules).verdict)


def test_the_paper_s_picture_holds():
    table = judge_claims(network([1.1, 1.4, 1.9, 2.3, 2.8, 3.5], widths=np.linspace(0.6, 1.4, 9)), RULES)
    assert list(table.verdict) == [HOLDS] * 5
    assert (table.layers == 6).all()
    assert table.number[DEEPER] == pytest.approx(1)
    assert table.number[STRIPS] == 1
    assert "tau 1.00" in table.evidence[DEEPER]


def test_its_opposite_does_not():
    opposite = network(
        [1.6, 1.5, 1.4, 1.2, 1.05, 1.0], shift=2.0, draw=np.random.Generator.laplace, along=ALONG_X
    )
    assert verdicts(opposite) == [FAILS] * 5


def test_what_lies_between_cannot_be_said():
    half = network([1.5] * 6, along=ALONG_X)  # elongation at the limit, no trend beyond chance
    mixed = half[:3] + network([1.5] * 6, draw=np.random.Generator.laplace, along=ALONG_X)[3:]
    mixed = [
        cloud_of(c.displacements * np.linspace(1, 2, 9)[:, None] ** (c.depth % 2), c.depth) for c in mixed
    ]
    found = judge_claims(mixed, ClaimRules(permutations=100, gaussian_fails=0.4, close_spacings=0.001))
    assert found.verdict[GAUSSIAN] == UNSURE
    assert found.number[GAUSSIAN] == pytest.approx(0.5, abs=0.05)
    assert found.verdict[SPREAD] == UNSURE
    assert found.number[SPREAD] == 0.5
    assert found.verdict[STRIPS] == UNSURE


def test_longer_and_narrower_are_both_asked_for():
    longer_and_wider = network([2.0] * 6, size=np.linspace(0.5, 1.3, 6))
    only_narrower = network(np.linspace(1.0, 4.0, 6), size=np.linspace(1.0, 4.0, 6) ** -0.5)
    both = network(np.linspace(1.0, 4.0, 6))
    assert "narrower: does not hold" in find_trend(longer_and_wider, RULES).evidence
    assert find_trend(longer_and_wider, RULES).verdict == FAILS
    assert "narrower: holds" in find_trend(only_narrower, RULES).evidence
    assert find_trend(only_narrower, RULES).verdict != HOLDS
    assert find_trend(both, RULES).verdict == HOLDS


def test_strips_of_equal_area_in_other_directions_are_other_covariances():
    found = find_spread(network([3.0] * 3), RULES)
    assert (found.verdict, found.number) == (HOLDS, 1.0)
    assert find_spread(network([3.0] * 3, along=ALONG_X), RULES).verdict == FAILS


def test_strips_that_do_not_point_outwards_are_not_the_papers():
    assert find_strips(network([2.5] * 4), RULES).verdict == HOLDS
    for along in (TANGENT, ALONG_X):
        assert find_strips(network([2.5] * 4, along=along), RULES).verdict == FAILS


@pytest.mark.parametrize("still", [0.1, 0.2, 0.6])
def test_channels_that_never_moved_are_left_out_and_said(still):
    clouds = network([1.0] * 5, count=500)
    for cloud in clouds:
        cloud.positions[0, : int(500 * still)] = SLOTS + 0.001
    found = judge_claims(clouds, RULES)
    assert found.verdict[GAUSSIAN] == HOLDS
    assert f"{still:.1%} of the shapes never moved" in found.evidence[GAUSSIAN]


def test_two_humps_three_deviations_apart_are_no_gaussian():
    def humps(rng, size):
        points = rng.standard_normal(size)
        points[..., 0] += np.where(rng.random(size[:-1]) < 0.5, -1.5, 1.5)
        return points

    for count in (120, 1000):
        assert find_gaussian(network([1.0] * 3, count, draw=humps), RULES).verdict == FAILS
        assert find_gaussian(network([1.0] * 3, count), RULES).verdict == HOLDS


def test_layers_that_cannot_be_judged_say_how_far_they_are_from_it():
    few = network([1.5], count=56)
    still = cloud_of(np.zeros((40, 9, 2)), 1)
    found = judge_claims([*few, still], RULES)
    assert list(found.verdict) == [UNSURE] * 5
    assert "1 with up to 56 shapes and up to 98% moved, 1 undeformed" in found.evidence[GAUSSIAN]


def test_a_trend_too_small_to_matter_does_not_hold():
    found = find_trend(network(np.linspace(1.3, 1.42, 8), count=10_000), RULES)
    assert found.number is not None
    assert found.number > 0.8
    assert found.verdict == FAILS


def test_slots_differ_only_if_by_much_and_surely():
    slight = find_spread(network([1.0], count=5000, widths=np.linspace(1, 1.15, 9)), RULES)
    assert (slight.verdict, slight.number) == (FAILS, 0)  # sure, but not by much
    alike = find_spread(network([1.0] * 3), ClaimRules(covariance_distance=0.0))
    assert (alike.verdict, alike.number) == (FAILS, 0)  # by 2 % and more, but not surely


def test_four_layers_have_no_trend_but_the_rest_is_judged():
    found = judge_claims(network([2.0, 2.5, 3.0, 3.5], widths=np.linspace(0.6, 1.4, 9)), RULES)
    assert list(found.verdict) == [HOLDS, HOLDS, HOLDS, UNSURE, HOLDS]
    assert "too few" in found.evidence[DEEPER]
    assert found.number.isna().tolist() == [False, False, False, True, False]


def test_never_trained_few_and_lost_layers_are_not_judged():
    rng = np.random.default_rng(0)
    still = cloud_of(rng.uniform(-1e-3, 1e-3, size=(300, 9, 2)), 0)
    few = cloud_of(rng.standard_normal((40, 9, 2)), 1)
    lost = cloud_of(np.full((300, 9, 2), np.nan), 2)
    hardly = cloud_of(np.where(np.arange(300)[:, None, None] < 90, rng.standard_normal((300, 9, 2)), 0.0), 3)
    table = judge_claims([still, few, lost, hardly], RULES)
    assert list(table.verdict) == [UNSURE] * 5
    assert (table.layers == 0).all()
    assert "2 with up to 90 shapes and up to 100% moved, 1 undeformed, 1 not finite" in table.evidence[0]
    assert verdicts([]) == [UNSURE] * 5


def test_shapes_that_are_lost_do_not_make_a_layer_large_enough():
    clouds = network([1.0] * 2, count=300)
    for cloud in clouds:
        cloud.positions[0, 10:] = np.nan
    found = judge_claims(clouds, RULES)
    assert list(found.verdict) == [UNSURE] * 5
    assert "2 layers of this network lost positions" in found.evidence[GAUSSIAN]
    assert "2 with up to 10 shapes" in found.evidence[GAUSSIAN]
    assert found.evidence[GAUSSIAN].endswith("to say it, train it anew, at a lower lr or position_lr")


def test_what_is_lost_of_judged_layers_is_said():
    clouds = network([1.0] * 2, count=300)
    clouds[0].positions[0, 150:] = np.nan
    found = judge_claims(clouds, RULES)
    assert found.verdict[GAUSSIAN] == HOLDS
    assert found.evidence[GAUSSIAN].endswith("; 1,350 of 5,400 positions are not finite and are left out")


def test_lost_and_equal_slots_count_against_their_layer():
    clouds = network([2.0] * 5, widths=np.linspace(0.3, 0.7, 9))
    for cloud in clouds:
        cloud.positions[0, :, [0, 1, 2], :] = np.nan
        cloud.positions[0, :, 3, :] = SLOTS[3] + [1.0, 0.0]
    table = judge_claims(clouds, RULES)
    assert table.number[GAUSSIAN] == pytest.approx(5 / 9)
    assert table.number[CLOSE] == pytest.approx(5 / 9)
    assert table.number[STRIPS] == pytest.approx(4 / 8)


@pytest.mark.parametrize(("size", "step"), [((3, 3), (1, 4)), ((1, 7), (1, 1)), ((7, 1), (2, 2))])
def test_parallel_strips_of_a_flat_grid_are_not_said_to_point_outwards(size, step):
    rng = np.random.default_rng(0)
    slots = (np.indices(size).reshape(2, -1).T - (np.array(size) - 1) / 2) * step
    long = int(size[0] * step[0] < size[1] * step[1])
    for axis, verdict in ((long, UNSURE), (1 - long, FAILS)):
        spread = np.where(np.arange(2) == axis, 0.6, 0.2)
        points = slots + spread * rng.standard_normal((300, len(slots), 2))
        cloud = PositionCloud(
            "l", 0, size, step, "channel", slots, points[None], np.ones((1, *points.shape[:2]))
        )
        found = find_strips([cloud] * 3, RULES)
        assert found.verdict == verdict
        assert ("along one axis" in found.evidence) == (verdict == UNSURE)


def test_kernels_without_outer_slots_have_no_strips():
    rng = np.random.default_rng(0)
    slots = np.zeros((1, 2))
    points = rng.standard_normal((300, 1, 2))
    cloud = PositionCloud("p", 0, (1, 1), (1, 1), "channel", slots, points[None], np.ones((1, 300, 1)))
    assert verdicts([cloud]) == [HOLDS, HOLDS, UNSURE, UNSURE, UNSURE]


def test_layers_that_moved_as_a_whole():
    rigid = [cloud_of(np.full((120, 9, 2), 0.3), depth) for depth in range(5)]
    found = judge_claims(rigid, RULES)
    assert list(found.verdict) == [FAILS, HOLDS, UNSURE, UNSURE, FAILS]
    assert verdicts(rigid + network([2.0] * 11)[5:])[DEEPER] != HOLDS


def test_the_page_states_every_threshold():
    page = Path(__file__).parents[2].joinpath("docs", "statistics.md").read_text(encoding="utf-8")
    page = " ".join(page.split())  # a line may end anywhere
    rules = ClaimRules()
    stated = {
        "shapes": f"at least {rules.shapes} shapes that moved",
        "moved": "at least half of its points have moved",
        "small_skewness": f"≤ {rules.small_skewness:g} (independent",
        "small_kurtosis": f"between −{rules.small_kurtosis:g} and {rules.small_kurtosis:g}",
        "small_gap": f"≤ {rules.small_gap:g} |",
        "gaussian_holds": f"roughly Gaussian | ≥ {rules.gaussian_holds * 100:g} % |",
        "gaussian_fails": f"| ≥ {rules.gaussian_holds * 100:g} % | ≤ {rules.gaussian_fails * 100:g} %",
        "close_spacings": "within a quarter of the grid spacing",
        "close_holds": f"close ≥ {rules.close_holds * 100:g} %",
        "far_fails": f"far > {rules.far_fails * 100:g} %",
        "two_humps": f"≥ {rules.two_humps:g} |".replace("-", "−"),
        "covariance_distance": f"covariance_distance ≥ {rules.covariance_distance:g}",
        "spread_q": f"q ≤ {rules.spread_q:g}",
        "spread_holds": f"| ≥ {rules.spread_holds * 100:g} % | ≤ {rules.spread_fails * 100:g} %",
        "spread_fails": f"≤ {rules.spread_fails * 100:g} %",
        "trend_layers": f"under {rules.trend_layers} judged layers",
        "trend_kendall": f"both τ ≥ {rules.trend_kendall:g}, interval above 0, rise ≥ {rules.trend_rise:g}",
        "trend_rise": f"with a rise < {rules.trend_rise:g}",
        "strip_elongation": f"interval lies above {rules.strip_elongation:g}",
        "strip_angle": f"within {rules.strip_angle:g}° of the radius",
        "strip_holds": f"outwards ≥ {rules.strip_holds * 100:g} %",
        "strip_fails": f"others ≥ {rules.strip_fails * 100:g} %",
    }
    assert set(stated) == {field.name for field in fields(rules)} - {"permutations", "seed"}
    assert (rules.moved, rules.close_spacings) == (0.5, 0.25)
    for name, sentence in stated.items():
        assert sentence in page, name


def test_without_regular_positions_nothing_is_said_about_them():
    """DCLS: slots are the means of their points, so that every centre would lie close to its slot."""
    free = [replace(cloud, regular=False) for cloud in network([1.0, 1.2, 1.4, 1.6, 1.8, 2.0])]
    claims = judge_claims(free, RULES)
    assert list(claims.verdict)[CLOSE] == list(claims.verdict)[STRIPS] == UNSURE
    assert claims.evidence[CLOSE] == "the layers have no regular positions"
    assert claims.layers[CLOSE] == 0
    assert claims.verdict[GAUSSIAN] == HOLDS
    assert set(centres.test_centres(free).closeness) == {"unknown"}
    layers = measure_layers(free)
    assert layers[["share_outside", "mirror_x", "mirror_y"]].isna().to_numpy().all()
    mixed = judge_claims([*free[:5], network([3.0])[0]], RULES)
    assert mixed.layers[CLOSE] == 1
