"""What a run records is what it used: nothing that the network's source decides is asked for in vain."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from icnn_core import write_checkpoint
from icnn_core.cli import main
from icnn_core.errors import ArgumentError, CheckpointError
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.training.ablation import plan_runs
from icnn_core.training.config import make_config, to_toml
from icnn_core.training.setup import prepare


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    model = deeplab_largefov("tiny", 5, classifier_dilation=3, dropout=0.25)
    return str(
        write_checkpoint(tmp_path / "tiny.pt", model, classes=("background", "rod", "hook", "fork", "ring"))
    )


@pytest.mark.parametrize(
    "asked", [{"backbone": "resnet18"}, {"dropout": 0.5}, {"classifier_dilation": 6}, {"weights": "imagenet"}]
)
def test_settings_that_a_checkpoint_decides_are_refused(tiny: str, tmp_path: Path, asked: dict) -> None:
    (name,) = asked
    with pytest.raises(ArgumentError, match=f"no {name} beside init=.*Leave {name} out"):
        make_config("shapes", init=tiny, **asked)
    (tmp_path / "own.toml").write_text("".join(f"{name} = {value!r}\n" for name, value in asked.items()))
    with pytest.raises(ArgumentError, match=f"no {name} beside init="):
        make_config("shapes", tmp_path / "own.toml", init=tiny)
    with pytest.raises(ArgumentError, match=rf"no {name} beside model=nets:make.*got {name}="):
        make_config("shapes", model="nets:make", **asked)


def test_the_config_holds_the_network_of_the_checkpoint(tiny: str, tmp_path: Path) -> None:
    config = make_config(
        "camvid", init=tiny, dataset="shapes", size=(40, 56), classifier_dilation=3, weights=None
    )
    used = (config.backbone, config.classifier_dilation, config.dropout, config.weights)
    assert used == ("tiny", 3, 0.25, None)
    assert prepare(config).model.architecture.arguments["dropout"] == 0.25
    (tmp_path / "again.toml").write_text(to_toml(config))
    assert make_config("voc", tmp_path / "again.toml") == config
    own = make_config("camvid", model="nets:make")
    assert (own.backbone, own.classifier_dilation, own.dropout, own.weights) == (None,) * 4
    (tmp_path / "own.toml").write_text(to_toml(own))
    assert make_config("voc", tmp_path / "own.toml", model="nets:make") == own
    with pytest.raises(CheckpointError, match="nothing there"):
        make_config("shapes", init=str(tmp_path / "absent.pt"))


def test_rows_that_start_from_the_regular_network_use_no_other_weights(tmp_path: Path) -> None:
    config = make_config("camvid", weights="backbone.pt")
    none, continued, row = plan_runs(config, ["none", "classifier"], [0], tmp_path, from_regular=True)
    assert [run.config.weights for run in (none, continued, row)] == ["backbone.pt", None, None]


def test_the_command_says_so_in_one_line_and_writes_what_it_used(run_main, tiny: str, tmp_path: Path) -> None:
    small = ("--iterations", 1, "--batch-size", 2, "--train-images", 2, "--val-images", 1, "--size", "40x56")
    command = ("train", "shapes", *small, "--init", tiny, "--out", tmp_path / "run")
    ended = run_main(main, *command, "--backbone", "resnet18")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "backbone='resnet18'; it has 'tiny'" in ended.err
    assert not (tmp_path / "run").exists()
    ended = run_main(main, *command)
    assert ended.code == 0, ended.err
    used = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (used["backbone"], used["classifier_dilation"], used["dropout"]) == ("tiny", 3, 0.25)
