"""`icnn train`, `evaluate` and `convert` as a user calls them."""

from __future__ import annotations

import json

import pytest
import torch

from icnn_core import build_model, read_checkpoint
from icnn_core.cli import main

SMALL = ["--iterations", "3", "--batch-size", "2", "--train-images", "4", "--val-images", "2"]


@pytest.fixture
def icnn(monkeypatch, capsys):
    """Runs the console script; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["icnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_train_evaluate_convert(icnn, tmp_path):
    run = tmp_path / "run"
    code, out, err = icnn("train", "shapes", *SMALL, "--irregular", "classifier", "--out", run, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["iterations"] == 3
    assert set(result["iou"]) <= {"background", "rod", "hook", "fork", "ring"}
    assert result["mean_displacement"] > 0

    code, out, _ = icnn("evaluate", run / "last.pt", "--images", 2, "--json")
    assert code == 0
    assert json.loads(out)["mean_iou"] == pytest.approx(result["mean_iou"])

    code, out, _ = icnn("evaluate", run / "last.pt", "--images", 2, "--out", run / "measured")
    assert json.loads((run / "measured" / "evaluation.json").read_text())["images"] == 2
    assert "mean IoU" in out
    assert "background" in out

    regular = tmp_path / "regular.safetensors"
    code, out, _ = icnn("convert", run / "last.pt", "--irregular", "none", "--out", regular)
    assert code == 0
    assert read_checkpoint(regular).irregular == ()

    again = tmp_path / "again.pt"
    code, out, _ = icnn("convert", regular, "--irregular", "layer4", "--shift", 0, "--out", again)
    assert code == 0
    assert "3 convolutions made irregular" in out
    converted = read_checkpoint(again)
    assert converted.classes == read_checkpoint(run / "last.pt").classes
    x = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(
            build_model(converted)(x), build_model(read_checkpoint(regular))(x), rtol=1e-4, atol=1e-5
        )


def test_train_says_what_it_replaced_and_goes_on(icnn, tmp_path):
    code, out, _ = icnn("train", *SMALL, "--irregular", "layer4", "--out", tmp_path)
    assert code == 0
    assert "backbone.layer4.conv1" in out
    code, _, err = icnn("train", *SMALL, "--irregular", "layer4", "--out", tmp_path)
    assert code == 1
    assert "--overwrite" in err
    code, _, _ = icnn("train", *SMALL, "--irregular", "layer4", "--out", tmp_path, "--resume")
    assert code == 0
    code, _, err = icnn("train", *SMALL, "--out", tmp_path, "--resume")
    assert code == 1
    assert "others for irregular" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "shaps"], "Did you mean shapes"),
        (["train", "--irregular", "layer9"], "Did you mean"),
        (["train", "--backbone", "tinny"], "Did you mean tiny"),
        (["train", "camvid"], "root"),
        (["train", "camvid", "--root", "nowhere"], "nowhere"),
        (["train", "--device", "cuda:99"], "--device"),
        (["train", "--init", "nothing.pt"], "nothing.pt"),
        (["train", "--sharing", "chanel", "--irregular", "fc1"], "Did you mean channel"),
        (["evaluate", "nothing.pt"], "nothing.pt"),
        (["convert", "nothing.pt", "--out", "x.pt"], "nothing.pt"),
    ],
)
def test_known_errors_are_one_line_and_exit_1(icnn, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = icnn(*arguments)
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("icnn: error: ")
    assert words in err


@pytest.mark.parametrize("arguments", [["train", "--iterations", "0"], ["train", "--nonsense"], ["trian"]])
def test_usage_errors_exit_2(icnn, arguments):
    assert icnn(*arguments)[0] == 2


def test_a_narrow_terminal_takes_no_letter_from_a_layer(icnn, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr("icnn_core.cli.layers.make_console", lambda: Console(width=50, legacy_windows=False))
    code, out, err = icnn("layers", "--backbone", "squeezenet1_0")
    assert code == 0, err
    assert "features" in out
    assert "…" not in out
