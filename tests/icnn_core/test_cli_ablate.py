"""`icnn ablate` as a user calls it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

from icnn_core.cli import main
from icnn_core.cli.ablate import _Report
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
    assert [row["row"] for row in result["rows"]] == ["none", "fc1"]
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


def test_the_title_names_a_network_of_ones_own(tmp_path):
    config = replace(make_config("shapes"), model="nets:make")
    assert _Report([], config, "shapes", "val", tmp_path).title.startswith("shapes, nets:make, ")


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
        (("camvid", "--root", tmp_path / "absent"), "camvid"),
    ):
        ended = run_main(main, "ablate", *options, "--out", tmp_path / "out")
        assert ended.code == 1, ended.out
        assert len(ended.err.splitlines()) == 1
        assert part in ended.err
        assert not (tmp_path / "out").exists()
    assert run_main(main, "ablate", "shapes", "--seeds", 0).code == 2
