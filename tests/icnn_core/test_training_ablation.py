"""The ablation: what it plans, what it does not train twice, and its statistics worked by hand."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from icnn_core import read_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError
from icnn_core.evaluation.images import ImageCounts
from icnn_core.models.backbones import BACKBONES
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.training.ablation import check_rows, default_rows, plan_runs
from icnn_core.training.ablation_table import (
    summarise,
    t_interval,
    tell_classes,
    to_cells,
    to_csv,
    to_markdown,
    to_notes,
    with_images,
)
from icnn_core.training.config import make_config
from icnn_core.training.runs import counts_path, finish_run
from icnn_core.training.setup import prepare

SMALL = {
    "size": (40, 56),
    "train_images": 5,
    "val_images": 2,
    "batch_size": 2,
    "iterations": 4,
    "backbone": "tiny",
    "lr": 0.005,
}


@dataclass
class Value:
    variant: str
    seed: int
    mean_iou: float


def plan(out, rows=("none", "layer4"), seeds=(0,), from_regular=False, **settings):
    config = make_config("shapes", **(SMALL | settings))
    return plan_runs(config, rows, seeds, out, from_regular=from_regular)


def test_statistics_worked_by_hand():
    # Differences to none by seed: 1, 2, 3 points; mean 2, sd 1, and Student's 97.5 % point with 2 degrees is 4.302653.
    results = [Value("none", seed, iou) for seed, iou in ((0, 0.50), (1, 0.40), (2, 0.60), (9, 0.90))]
    results += [Value("fc1", seed, iou) for seed, iou in ((2, 0.63), (0, 0.51), (1, 0.42))]
    none, fc1 = summarise(results, ["none", "fc1", "absent"])
    assert (none.seeds, none.mean, none.difference, none.pairs) == (4, pytest.approx(0.60), None, 0)
    assert none.sd == pytest.approx((0.14 / 3) ** 0.5)  # deviations −10, −20, 0, 30: squares 1400 / 3
    assert (fc1.seeds, fc1.pairs, fc1.wins) == (3, 3, 3)
    assert fc1.mean == pytest.approx(0.52)
    assert fc1.difference == pytest.approx(0.02)
    half = 4.302653 * 0.01 / 3**0.5
    assert (fc1.low, fc1.high) == pytest.approx((0.02 - half, 0.02 + half))
    assert to_cells(fc1) == ("fc1", "3", "52.0 ± 10.5", "+2.0", "−0.5 to +4.5", "–", "3 of 3", "–")
    assert to_cells(none)[3:] == ("–",) * 5


def test_intervals_over_images_are_of_paired_runs_and_none_of_few_images():
    def counts(number, right, edge):
        """Images of two classes, 10 pixels each, `right` of class 0's right; every second image one fewer."""
        rights = [right - (i % 2) for i in range(number)]
        confusions = np.array([[[r, 10 - r], [0, 0]] for r in rights])
        return ImageCounts(confusions, np.full((number, 2), edge), np.full((number, 2), 10))

    results = [Value(row, seed, 0.5) for row in ("none", "fc1") for seed in (0, 1)]
    for number, told in ((20, True), (19, False)):
        held = {
            ("none", 0): counts(number, 5, 3),
            ("fc1", 0): counts(number, 8, 4),
            ("fc1", 1): counts(number, 1, 0),
        }
        none, fc1 = with_images(summarise(results, ["none", "fc1"]), held, [0])
        assert (none.image_low, none.boundary) == (None, None)
        if told:  # 3 of 10 pixels in every image, whatever is drawn; seed 1 has no pair
            assert (fc1.image_low, fc1.image_high) == pytest.approx((0.3, 0.3))
            assert (fc1.boundary, fc1.boundary_low, fc1.boundary_high) == pytest.approx((0.1, 0.1, 0.1))
            assert to_cells(fc1)[5::2] == ("+30.0 to +30.0", "+10.0 (+10.0 to +10.0)")
            assert any("over images" in note for note in to_notes([none, fc1]))
        else:
            assert (fc1.image_low, fc1.boundary) == (None, None)


def test_means_over_other_classes_are_told():
    @dataclass
    class Found:
        iou: dict[str, float]

    plain, odd = Found({"road": 0.8, "sky": 0.6}), Found({"road": 0.8, "sky": 0.6, "cat": 0.0})
    [note] = tell_classes([plain, odd, plain])
    assert "no image has cat, which count as 0 in 1 of 3 runs" in note
    assert not tell_classes([odd, odd])
    assert not tell_classes([plain, odd], ["road", "sky"])
    assert not tell_classes([])


def test_too_few_seeds_have_no_interval_and_the_table_says_so():
    assert t_interval([0.1, 0.2]) == (None, None)
    assert t_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1))
    two = [Value(row, seed, iou) for row, seed, iou in (("none", 0, 0.5), ("fc1", 0, 0.4), ("none", 1, 0.6))]
    summaries = summarise(two, ["none", "fc1"])
    assert summaries[1].difference == pytest.approx(-0.1)
    assert (summaries[1].sd, summaries[1].low, summaries[1].wins) == (None, None, 0)
    assert any("too few" in note for note in to_notes(summaries))
    text = to_markdown(summaries, "a title")
    assert "| fc1 | 1 | 40.0 | −10.0 | – | – | 0 of 1 | – |" in text
    assert "too few" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(summaries))))
    assert rows[1]["difference"] == str(0.4 - 0.5)
    assert rows[1]["low"] == ""


def test_rows_of_every_backbone_name_modules_of_it():
    assert default_rows("resnet101") == ("none", "classifier", "res5a", "res4b11", "res4a")
    for name in BACKBONES:
        with torch.device("meta"):
            check_rows(deeplab_largefov(name, 3), default_rows(name))
    with pytest.raises(NameNotFoundError, match="res4z"):
        check_rows(deeplab_largefov("tiny", 3), ["none", "res4z"])
    with pytest.raises(ArgumentError, match="--rows"):
        default_rows("unheard_of")


def test_runs_are_planned_seed_by_seed(tmp_path):
    runs = plan(tmp_path, ["fc1", "none", "layer4", "fc1"], [3, 4])
    assert [(r.variant, r.config.seed) for r in runs] == [
        (row, s) for s in (3, 4) for row in ("none", "fc1", "layer4")
    ]
    assert [r.config.irregular for r in runs[:3]] == [None, "fc1", "layer4"]
    assert len({r.folder for r in runs}) == 6
    assert {r.config.init for r in runs} == {None}

    runs = plan(tmp_path, from_regular=True)
    assert [r.variant for r in runs] == ["none", "continued", "layer4"]
    assert [r.config.irregular for r in runs] == [None, None, "layer4"]
    first = str(runs[0].folder / "last.pt")
    assert [r.config.init for r in runs] == [None, first, first]
    for wrong in (["fc1"], ["none", "continued"]):
        with pytest.raises(ArgumentError, match="none"):
            plan(tmp_path, wrong)


def test_a_finished_run_is_not_trained_again_and_another_split_is_only_measured(tmp_path, monkeypatch):
    run = plan(tmp_path)[1]
    (first,) = finish_run(run, ["val"])
    monkeypatch.setattr("icnn_core.training.runs.train", lambda *a, **k: pytest.fail("trained again"))
    again, test = finish_run(run, ["val", "test"])
    assert again == first
    assert (test.split, test.seed, test.variant) == ("test", 0, "layer4")
    assert test.iou != first.iou
    monkeypatch.setattr("icnn_core.training.runs.evaluate", lambda *a, **k: pytest.fail("measured again"))
    assert finish_run(run, ["test"]) == [test]
    state = read_checkpoint(run.folder / "last.pt").state
    positions = sum(v.numel() for k, v in state.items() if k.endswith(".positions"))
    assert first.positions == positions == 2 * 9 * 56 * 3
    assert first.weights + first.positions == sum(p.numel() for p in prepare(run.config).model.parameters())
    counts = ImageCounts.read(counts_path(run, "val"))
    assert (counts.confusion.shape, counts.union.shape) == ((2, 5, 5), (2, 5))
    both, union = (part.sum(0) for part in counts.shares())
    assert first.mean_iou == pytest.approx(float((both / np.maximum(union, 1))[union > 0].mean()))
    assert set(first.boundary_iou) <= set(first.iou)
    assert first.displacement is not None
    assert first.displacement > 0


def test_positions_that_rest_are_counted_as_positions(tmp_path):
    (moving,) = finish_run(plan(tmp_path / "moving", iterations=2)[1], ["val"])
    (resting,) = finish_run(plan(tmp_path / "resting", iterations=2, position_lr=0.0)[1], ["val"])
    assert (resting.positions, resting.weights) == (moving.positions, moving.weights)
    assert resting.positions > 0


def test_a_half_run_goes_on_to_the_same_result(tmp_path):
    whole = plan(tmp_path / "whole")[1]
    half = plan(tmp_path / "half")[1]

    def press_ctrl_c(progress):
        if progress.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)

    assert finish_run(half, ["val"], on_progress=press_ctrl_c) is None
    assert not (half.folder / "result.json").exists()
    seen = []
    (gone_on,) = finish_run(half, ["val"], on_progress=lambda p: seen.append(p.iteration))
    assert seen == [3, 4]
    (at_once,) = finish_run(whole, ["val"])
    assert (gone_on.mean_iou, gone_on.displacement) == (at_once.mean_iou, at_once.displacement)


def test_a_run_killed_before_its_result_was_kept_is_only_measured(tmp_path):
    run = plan(tmp_path)[0]
    (first,) = finish_run(run, ["val"])
    (run.folder / "result.json").unlink()
    seen = []
    (again,) = finish_run(run, ["val"], on_progress=seen.append)
    assert seen == []
    assert again.mean_iou == first.mean_iou


def test_results_of_other_settings_or_broken_ones_are_refused(tmp_path):
    finish_run(plan(tmp_path)[0], ["val"])
    with pytest.raises(CheckpointError, match=r"lr=0\.005.*others for lr"):
        finish_run(plan(tmp_path, lr=0.5)[0], ["val"])
    (result,) = finish_run(plan(tmp_path, workers=1)[0], ["val"])
    assert result.split == "val"
    path = plan(tmp_path)[0].folder / "result.json"
    path.write_text(json.dumps({"variant": "none"}))
    with pytest.raises(CheckpointError, match="Delete its folder"):
        finish_run(plan(tmp_path)[0], ["val"])


def test_rows_start_from_the_trained_regular_network(tmp_path):
    none, *others = plan(tmp_path, from_regular=True)
    finish_run(none, ["val"])
    name = "backbone.layer4.conv1.weight"
    trained = read_checkpoint(none.folder / "last.pt").state[name]
    assert (trained - prepare(none.config).model.state_dict()[name]).abs().max() > 1e-4
    for run in others:
        finish_run(replace(run, config=replace(run.config, lr=1e-9, position_lr=0.0)), ["val"])
        started = read_checkpoint(run.folder / "last.pt").state[name]
        assert (trained - started).abs().max() < 1e-6
