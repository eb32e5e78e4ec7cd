"""A cloud's measures are taken once, as long as its numbers stay."""

import numpy as np
import pytest

from icnn_viz.displays import KernelDisplay
from icnn_viz.positions import to_cloud
from icnn_viz.statistics import normality, spreads
from icnn_viz.statistics.claims import judge_claims
from icnn_viz.statistics.gaussian import fit_gaussians
from icnn_viz.statistics.once import once
from icnn_viz.statistics.summary import summarise


def _cloud(shapes, layer="a"):
    rng = np.random.default_rng(shapes)
    slots = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-0.5, 0.5], indexing="ij"), -1).reshape(-1, 2)
    moves = rng.standard_normal((1, shapes, 6, 2)) * (0.4, 0.2)
    return to_cloud(slots + moves, weights=np.ones((1, shapes, 6)), kernel_size=(3, 2), layer=layer)


@pytest.fixture
def calls(monkeypatch):
    """How often slots' covariances are permuted, and how often a slot is tested."""
    found = {"permutations": 0, "slots": 0}

    def counting(name, measure):
        def count(*args, **options):
            found[name] += 1
            return measure(*args, **options)

        return count

    monkeypatch.setattr(spreads, "_permute", counting("permutations", spreads._permute))
    monkeypatch.setattr(normality, "_p_values", counting("slots", normality._p_values))
    return found


def test_tables_and_claims_share_their_tests(calls):
    display = KernelDisplay([_cloud(130, "a"), _cloud(101, "b")])
    tables = display.tables(seed=3)
    for name in ("layers", "tests", "claims", "effects"):
        assert len(tables[name])
    assert calls == {"permutations": 2, "slots": 12}
    assert judge_claims([_cloud(130, "a"), _cloud(101, "b")]).equals(display.tables()["claims"])


def test_what_was_measured_goes_with_the_numbers(calls):
    cloud = _cloud(40)
    first = spreads.test_spreads([cloud], permutations=20)
    assert spreads.test_spreads([cloud], permutations=20).equals(first)
    assert calls["permutations"] == 1
    spreads.test_spreads([cloud], permutations=21)
    assert calls["permutations"] == 2
    cloud.positions[0, :, 4] *= 1.5
    changed = spreads.test_spreads([cloud], permutations=20)
    assert calls["permutations"] == 3
    assert changed["spread_ratio"][0] > first["spread_ratio"][0]


def test_an_answer_is_kept_with_its_cloud_and_options():
    asked = []

    @once
    def measure(cloud, share=1.0):
        asked.append(cloud.layer)
        return share * len(cloud.points)

    one, other = _cloud(5, "one"), _cloud(7, "other")
    assert [measure(one), measure(one), measure(other), measure(one, share=2.0)] == [5, 5, 7, 10]
    assert asked == ["one", "other", "one"]


def test_who_changes_an_answer_changes_no_other():
    cloud = _cloud(40)
    first = summarise(cloud)
    first["shapes"] = -1
    assert summarise(cloud)["shapes"] == 40
    fit = fit_gaussians(cloud)
    fit.mean[2] += 1.0
    assert (fit.mean - fit_gaussians(cloud).mean).tolist() == [[0.0, 0.0]] * 2 + [[1.0, 1.0]] + [
        [0.0, 0.0]
    ] * 3
