"""`icnn ablate` as a user calls it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

from icnn_core.cli import main
from icnn_core.cli._ablation import Report
from icnn_core.evaluation.images import ImageCounts
from icnn_core.training.ablation_table import VariantSummary
from icnn_core.training.config import make_config

SMALL = ("--iterations", 2, "--batch-size", 2, "--train-images", 3, "--val-images", 2, "--rows", "none,fc1")


def read_csv(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_tables_are_written_and_the_second_call_trains_only_what_is_new(run_main, tmp_path, monkeypatch):
    ended = run_main(main, "ablate", "shapes", *SMALL, "--seeds", 1, "--out", tmp_path, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "too few for an interval" in ended.out
    assert f"icnn-viz ablation {tmp_path}" in ended.out
    assert {"ablation.md", "ablation.csv", "ablation.json", "runs.csv"} <= {
        p.name for p in tmp_path.iterdir()
    }

    import icnn_core.training.runs as runs_module

    trained, train = [], runs_module.train

    def count(*arguments, **options):
        trained.append(arguments[5].parent.name)
        return train(*arguments, **options)

    monkeypatch.setattr(runs_module, "train", count)
    command = ("ablate", "shapes", *SMALL, "--seeds", 3, "--out", tmp_path, "--split", "test", "--json")
    ended = run_main(main, *command)
    assert ended.code == 0, ended.err
    assert trained == ["none", "fc1", "none", "fc1"]
    result = json.loads(ended.out)
    assert [row["variant"] for row in result["variants"]] == ["none", "fc1"]
    assert [run["seed"] for run in result["runs"]] == [0, 0, 1, 1, 2, 2]
    assert {run["split"] for run in result["runs"]} == {"test"}
    assert json.loads((tmp_path / "ablation.json").read_text()) == result
    runs = read_csv(tmp_path / "runs.csv")
    differences = [float(runs[i + 1]["mean_iou"]) - float(runs[i]["mean_iou"]) for i in (0, 2, 4)]
    row = read_csv(tmp_path / "ablation.csv")[1]
    assert abs(float(row["difference"]) - sum(differences) / 3) < 1e-12
    assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    assert "measured on test" in (tmp_path / "ablation.md").read_text(encoding="utf-8")

    ended = run_main(main, *command, "--classes", "0,rod")
    some = json.loads(ended.out)
    assert trained == ["none", "fc1", "none", "fc1"]
    assert some["title"].endswith("measured on test over background, rod")
    for run, before in zip(some["runs"], result["runs"], strict=True):
        assert run["iou"] == before["iou"]
        assert run["mean_iou"] == (run["iou"]["background"] + run["iou"].get("rod", 0)) / (
            1 + ("rod" in run["iou"])
        )


def test_variants_are_compared_with_the_regular_network_and_take_from_the_irregular_one(run_main, tmp_path):
    command = (
        "ablate",
        "shapes",
        *SMALL[:-2],
        "--seeds",
        1,
        "--irregular",
        "layer4",
        "--out",
        tmp_path,
        "--json",
    )
    names = "permuted,snapped,dilation-0.5,regular"
    ended = run_main(
        main, *command, "--variants", "regular", "--train-iou", "--set", "irregular.position_lr=0.2"
    )
    (one,) = json.loads(ended.out)["runs"]
    assert 0 < one["train_iou"] != one["mean_iou"]
    assert ImageCounts.read(tmp_path / "regular" / "seed-0" / "images-train.npz").confusion.shape == (2, 5, 5)
    ended = run_main(main, *command, "--variants", names, "--set", "irregular.position_lr=0.2")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    order = ["regular", "irregular", "permuted", "snapped", "dilation-0.5"]
    assert [row["variant"] for row in result["variants"]] == order
    assert result["against"] == "regular"
    assert [row["difference"] is None for row in result["variants"]] == [True, *[False] * 4]
    table = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    assert "| variant | seeds | mean IoU % | − regular |" in table
    saved = json.loads((tmp_path / "irregular" / "seed-0" / "result.json").read_text(encoding="utf-8"))
    assert (saved["config"]["position_lr"], saved["config"]["irregular"]) == (0.2, "layer4")
    ended = run_main(
        main, *command, "--variants", names, "--set", "irregular.position_lr=0.2", "--against", "irregular"
    )
    result = json.loads(ended.out)
    assert [row["difference"] is None for row in result["variants"]] == [False, True, *[False] * 3]


def test_the_title_names_a_network_of_ones_own(tmp_path):
    config = replace(make_config("shapes"), model="nets:make")
    assert Report([], config, "shapes", "val", tmp_path).title.startswith("shapes, nets:make, ")


def test_a_narrow_terminal_takes_no_digit_from_a_number(tmp_path):
    from rich.console import Console

    report = Report([], make_config("shapes"), "shapes", "val", tmp_path)
    numbers = 0.47, 0.011, 3, 0.0123, -0.0456, 0.0789, 3
    report._summaries = [VariantSummary("irregular-gaussian", 3, *numbers)]
    console = Console(width=50, legacy_windows=False)
    with console.capture() as found:
        console.print(report.to_table())
    lines = [line.split("│")[1:-1] for line in found.get().splitlines() if "│" in line]
    shown = ["".join(column).replace(" ", "") for column in zip(*lines, strict=True)]
    assert shown[:4] == ["irregular-gaussian", "3", "47.0±1.1", "+1.2"]


def test_several_processes_are_refused(run_main, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = run_main(main, "ablate", "shapes", *SMALL, "--out", tmp_path / "out")
    assert ended.code == 1, ended.out
    assert len(ended.err.splitlines()) == 1
    assert "one process" in ended.err
    assert not (tmp_path / "out").exists()


def test_errors_come_before_training_and_in_one_line(run_main, tmp_path):
    for options, part in (
        (("shapes", *SMALL, "--rows", "none,layer9"), "'layer9'"),
        (("shapes", "--rows", "fc1"), "Add none"),
        (("shapes", *SMALL, "--classes", "backgroud"), "background"),
        (("shapes", "--rows", "none,continued"), "--from-regular"),
        (("nothing",), "needs a preset"),
        (("shapes", *SMALL, "--set", "seed=7"), "Use --seed and --seeds"),
        (("shapes", *SMALL, "--set", "irregular="), "Use --rows"),
        (("shapes", *SMALL, "--variants", "regular"), "no --rows with --variants"),
        (("shapes", *SMALL, "--irregular", "fc1"), "--variants with --irregular"),
        (("shapes", *SMALL, "--set", "mean.lr=1"), "--variants with --set mean.lr"),
        (("shapes", *SMALL, "--against", "fc2"), "fc1"),
        (("shapes", *SMALL[:-2], "--variants", "regular,thown"), "thrown"),
        (("shapes", *SMALL[:-2], "--variants", "irregular", "--set", "irregualr.lr=0.9"), "irregular"),
        (
            ("shapes", *SMALL[:-2], "--variants", "irregular", "--set", "permuted.lr=0.9"),
            "a variant of this study",
        ),
        (("shapes", *SMALL[:-2], "--variants", "irregular", "--set", "irregular.foo=0.9"), "a known setting"),
        (("shapes", *SMALL[:-2], "--variants", "irregular", "--set", "irregular.lr=abc"), "lr as a number"),
        (
            ("shapes", *SMALL[:-2], "--variants", "irregular", "--set", "irregular.sharing=foo"),
            "sharing='foo'",
        ),
        (
            ("shapes", *SMALL[:-2], "--variants", "irregular", "--set", "irregular.seed=3"),
            "variants and seeds decide",
        ),
        (("shapes", *SMALL[:-2], "--variants", "regular", "--irregular", "layer9"), "'layer9'"),
        (("camvid", "--root", tmp_path / "absent"), "camvid"),
    ):
        ended = run_main(main, "ablate", *options, "--out", tmp_path / "out")
        assert ended.code == 1, ended.out
        assert len(ended.err.splitlines()) == 1
        assert part in ended.err
        assert not (tmp_path / "out").exists()
    assert run_main(main, "ablate", "shapes", "--seeds", 0).code == 2


def test_a_run_that_fails_is_named_and_the_others_go_on(run_main, tmp_path, monkeypatch):
    import icnn_core.training.runs as runs_module

    trained, train = [], runs_module.train

    def count(model, *arguments, **options):
        run = arguments[4]
        trained.append((run.parent.name, run.name))
        if lost and (run.parent.name, run.name) == ("fc1", "seed-0"):
            model.classifier.fc1.weight.register_hook(lambda gradient: gradient * float("nan"))
        return train(model, *arguments, **options)

    monkeypatch.setattr(runs_module, "train", count)
    command = ("ablate", "shapes", *SMALL, "--seeds", 2, "--out", tmp_path, "--json")
    lost = True
    every = [(row, f"seed-{seed}") for seed in (0, 1) for row in ("none", "fc1")]
    for attempt in (every, []):  # what failed is not trained again unasked
        trained.clear()
        ended = run_main(main, *command)
        assert ended.code == 1
        assert trained == attempt
        result = json.loads(ended.out)
        assert [(one["variant"], one["seed"]) for one in result["runs"]] == [
            ("none", 0),
            ("none", 1),
            ("fc1", 1),
        ]
        (failure,) = result["failed"]
        assert (failure["variant"], failure["seed"]) == ("fc1", 0)
        assert failure["reason"].startswith("fc1, seed 0: train: needs finite gradients")
        assert "Failed, and in no mean: fc1, seed 0: " in (tmp_path / "ablation.md").read_text(
            encoding="utf-8"
        )
        assert "--retry-failed" in ended.err
    lost = False
    trained.clear()
    ended = run_main(main, *command, "--retry-failed")
    assert ended.code == 0, ended.err
    assert trained == [("fc1", "seed-0")]
    assert json.loads(ended.out)["failed"] == []
    assert "Failed" not in (tmp_path / "ablation.md").read_text(encoding="utf-8")


def test_rows_that_start_from_a_network_that_failed_fail_with_it(run_main, tmp_path):
    command = ("ablate", "shapes", *SMALL, "--seeds", 1, "--from-regular", "--out", tmp_path, "--json")
    ended = run_main(main, *command, "--set", "lr=1e30", "--set", "optimizer=sgd", "--iterations", 8)
    failures = json.loads(ended.out)["failed"]
    assert [one["variant"] for one in failures] == ["none", "continued", "fc1"]
    assert "one that failed" in failures[2]["reason"]
    assert not (tmp_path / "fc1").exists()


def test_a_study_of_other_settings_is_refused_or_takes_the_place_of_the_first(run_main, tmp_path):
    call = ("ablate", "shapes", *SMALL[2:-1], "none", "--seeds", 1, "--out", tmp_path, "--device", "cpu")
    assert run_main(main, *call, "--iterations", 2).code == 0
    before = (tmp_path / "runs.csv").read_bytes()
    ended = run_main(main, *call, "--iterations", 3)
    assert ended.code == 1
    assert "iterations=2" in ended.err
    assert "--overwrite" in ended.err
    assert (tmp_path / "runs.csv").read_bytes() == before
    ended = run_main(main, *call, "--iterations", 3, "--overwrite")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "ablation.json").read_text())["config"]["iterations"] == 3
