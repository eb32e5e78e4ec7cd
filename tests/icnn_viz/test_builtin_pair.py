"""The pair that the package ships, and the demo that trains one like it."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from icnn_core import IrregularConv2d, build_model, read_checkpoint
from icnn_core.checkpoint import write_snapshot
from icnn_core.training.loop import mean_displacement
from icnn_viz.cli import main
from icnn_viz.data import builtin_path, pair
from icnn_viz.positions import read_clouds, read_snapshots

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


def test_snapshots_are_shipped_with_small_weights_instead_of_others(tmp_path):
    run, out = tmp_path / "run", tmp_path / "snapshots"
    network = torch.nn.Sequential(IrregularConv2d(5, 4, 3, dilation=2), IrregularConv2d(4, 2, (1, 3)))
    for step in (0, 30, 200):
        with torch.no_grad():
            network[0].positions += 0.3
        write_snapshot(run / "snapshots", network, step)
    write_snapshot(out, network, 17)
    assert [path.name for path in pair.write_snapshots(run, out)] == sorted(
        path.name for path in out.iterdir()
    )
    before, after = read_snapshots(run / "snapshots"), read_snapshots(out)
    assert after[0] == [0, 30, 200]
    for one, other in zip(itertools.chain(*before[1]), itertools.chain(*after[1]), strict=True):
        assert (other.positions == one.positions).all()
        assert other.weights == pytest.approx(one.weights, rel=1e-3)
    sizes = [sum(path.stat().st_size for path in folder.glob("*")) for folder in (run / "snapshots", out)]
    assert sizes[1] < sizes[0]


def test_the_shipped_snapshots_lead_to_the_shipped_network():
    folder = builtin_path(NAMES[1]).parent / "snapshots"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    steps, clouds = read_snapshots(folder)
    network = read_clouds(builtin_path(NAMES[1]))
    assert steps[0] == 0
    assert steps[-1] == read_checkpoint(builtin_path(NAMES[1])).iteration
    assert max(abs(cloud.displacements).max() for cloud in clouds[0]) < 0.01
    for one, other in zip(clouds[-1], network, strict=True):
        assert one.layer == other.layer
        assert (one.positions == other.positions).all()


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
