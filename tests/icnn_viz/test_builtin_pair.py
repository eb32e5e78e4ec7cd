"""The pair that the package ships, and the demo that trains one like it."""

from __future__ import annotations

import json

import pytest

from icnn_core import build_model, read_checkpoint
from icnn_core.training.loop import mean_displacement
from icnn_viz.cli import main
from icnn_viz.data import builtin_path, pair

NAMES = ("shapes-regular.safetensors", "shapes-irregular.safetensors", "sample.png")


@pytest.fixture
def icnn_viz(monkeypatch, capsys, tmp_path):
    """Runs the console script in a folder of its own; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["icnn-viz", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_the_pair_is_small_fits_together_and_has_moved():
    assert sum(builtin_path(name).stat().st_size for name in NAMES[:2]) < 3e6
    regular, irregular = (read_checkpoint(builtin_path(name)) for name in NAMES[:2])
    assert regular.classes == irregular.classes
    assert regular.irregular == ()
    assert irregular.irregular[-1].name == "classifier.fc1"
    assert mean_displacement(build_model(irregular)) > 0.5
    assert irregular.metrics["mean_iou"] > 0.5
    assert regular.metrics["mean_iou"] > 0.5


def test_both_commands_work_with_no_other_argument(icnn_viz, tmp_path):
    code, out, err = icnn_viz("kernels", "--json")
    assert code == 0, err
    assert len(json.loads(out)["layers"]) == 5
    code, out, err = icnn_viz("heatmap", "--pixel", "60,40", "--json")
    assert code == 0, err
    assert json.loads(out)["image_size"] == {"height": 120, "width": 160}
    assert (tmp_path / "icnn-kernels" / "positions.csv").is_file()
    assert (tmp_path / "icnn-heatmap" / "heatmap-x60-y40.npz").is_file()


def test_demo_trains_and_looks(icnn_viz, tmp_path, monkeypatch):
    train = pair.train_pair
    few = {"train_images": 8, "val_images": 3, "batch_size": 4}
    monkeypatch.setattr(pair, "train_pair", lambda *to, **settings: train(*to, **(settings | few)))
    code, out, err = icnn_viz("demo", "--iterations", "2", "--out", "demo")
    assert code == 0, err
    assert "mean IoU" in out
    for name in ("regular/last.pt", "irregular/last.pt", "kernels/clouds.html", "sample.png"):
        assert (tmp_path / "demo" / name).is_file(), name
    assert list((tmp_path / "demo" / "heatmap").glob("*.png"))
