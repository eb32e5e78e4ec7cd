"""Positions recorded from any training loop: what is written, gone on with, refused; where numbers and pictures go."""

from __future__ import annotations

import csv
import logging
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from icnn_core import IrregularConv2d
from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError
from icnn_viz import PositionRecorder
from icnn_viz.cli import main
from icnn_viz.positions import clouds_from_model, read_clouds, read_snapshots


def make_net(seed: int = 0, channels: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        IrregularConv2d(2, channels, (3, 2), shift=0.0),
        nn.Dropout(0.2),
        IrregularConv2d(channels, 2, 3, padding=1, shift=0.1),
    )


def advance(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    net(torch.randn(2, 2, 7, 6)).square().mean().backward()
    optimizer.step()


def train(net: nn.Module, recorder: PositionRecorder | None, steps: int, first: int = 0) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    for number in range(first, first + steps):
        advance(net, optimizer, number)
        if recorder is not None:
            recorder.step()


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.safetensors"))


def test_a_loop_is_recorded_and_ends_as_it_would_without(tmp_path: Path) -> None:
    watched, alone = make_net(), make_net()
    with PositionRecorder(watched, tmp_path / "run", every=3) as recorder:
        train(watched, recorder, 7)
    train(alone, None, 7)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(watched.state_dict()[name], tensor), name
    steps, snapshots = read_snapshots(tmp_path / "run")
    assert steps == [0, 3, 6, 7]
    assert not snapshots[0][0].displacements.any()
    last = watched[2].positions.detach().numpy()
    assert (snapshots[-1][1].positions.reshape(last.shape) == last).all()
    moved = (watched[2].positions - watched[2].slots).norm(dim=-1).mean().item()
    assert recorder.displacements[7]["2"] == pytest.approx(moved)
    with open(tmp_path / "run" / "displacement.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["iteration"], row["layer"]) for row in rows[-2:]] == [("7", "0"), ("7", "2")]
    assert float(rows[-1]["displacement"]) == pytest.approx(moved)


def test_the_command_draws_what_was_recorded(tmp_path: Path, run_main: Callable[..., Any]) -> None:
    net = make_net()
    with PositionRecorder(net, tmp_path / "run", every=2) as recorder:
        train(net, recorder, 4)
    out = tmp_path / "drawn"
    ended = run_main(main, "kernels", tmp_path / "run", "--view", "trajectory", "--out", out)
    assert ended.code == 0, ended.err
    assert {path.name for path in out.glob("*.png")} == {"0.trajectory.png", "2.trajectory.png"}


def test_a_training_that_goes_on_is_recorded_from_there(tmp_path: Path) -> None:
    net, whole = make_net(), make_net()
    with PositionRecorder(whole, tmp_path / "whole", every=2) as recorder:
        train(whole, recorder, 6)
    first = PositionRecorder(net, tmp_path / "run", every=2, views=["cloud"], layers="0")
    train(net, first, 3)
    saved = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    train(net, first, 2, first=40)  # which the loop's own checkpoint knows nothing of
    assert steps_in(tmp_path / "run") == [0, 2, 4]
    net.load_state_dict(saved)
    with PositionRecorder(net, tmp_path / "run", every=2, start=3) as recorder:
        train(net, recorder, 3, first=3)
    assert steps_in(tmp_path / "run") == [0, 2, 3, 4, 6]
    assert sorted(path.name for path in (tmp_path / "run" / "pictures").iterdir()) == ["00000000", "00000002"]
    assert set(recorder.displacements) == {0, 2, 3, 4, 6}
    for step in (4, 6):
        ours, theirs = (read_clouds(tmp_path / name / f"{step:08d}.safetensors") for name in ("run", "whole"))
        assert [(a.positions == b.positions).all() for a, b in zip(ours, theirs, strict=True)] == [True, True]


def test_another_recording_is_refused_replaced_or_gone_on_with(tmp_path: Path) -> None:
    with PositionRecorder(make_net(), tmp_path, every=1) as recorder:
        recorder.step()
    (tmp_path / "notes.safetensors").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"without a recording; got one of 2 snapshots, .* iteration 1"):
        PositionRecorder(make_net(), tmp_path)
    with pytest.raises(CheckpointError, match="network that is recorded"):
        PositionRecorder(make_net(channels=4), tmp_path, start=1)
    PositionRecorder(make_net(channels=4), tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("0*")) == ["00000000.safetensors"]
    assert (tmp_path / "notes.safetensors").read_bytes() == b"mine"


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="irregular layers; got none in Conv2d"):
        PositionRecorder(nn.Conv2d(2, 3, 3), tmp_path)
    with pytest.raises(ArgumentError, match="every, a whole number from 1; got 0"):
        PositionRecorder(make_net(), tmp_path, every=0)
    with pytest.raises(NameNotFoundError, match="Did you mean cloud"):
        PositionRecorder(make_net(), tmp_path, views=["clouds"])
    with pytest.raises(ArgumentError, match=r"SummaryWriter.*got function"):
        PositionRecorder(make_net(), tmp_path, logger=print_nothing)
    assert list(tmp_path.iterdir()) == []
    recorder = PositionRecorder(make_net(), tmp_path, start=5)
    with pytest.raises(ArgumentError, match="iteration from 5; got 4"):
        recorder.step(4)


def print_nothing(*_: object) -> None: ...


def test_iterations_that_the_loop_counts_may_jump_and_stand(tmp_path: Path) -> None:
    """Two optimisers make two of Lightning's steps a batch; parts of a batch make none."""
    net = make_net()
    with PositionRecorder(net, tmp_path, every=5) as recorder:
        for done in (0, 2, 2, 4, 6, 6, 8, 10, 12):
            recorder.step(done)
    assert steps_in(tmp_path) == [0, 6, 10, 12]


def interrupted(folder: Path, *, within_a_step: bool) -> None:
    """Four iterations and a part of the fifth."""
    net = make_net()
    with PositionRecorder(net, folder, every=9) as recorder:
        train(net, recorder, 4)
        net(torch.randn(1, 2, 7, 6)).sum().backward()
        if within_a_step:  # the optimiser has not come to the second layer
            with torch.no_grad():
                net[0].positions.add_(0.5)
        raise KeyboardInterrupt


@pytest.mark.parametrize(("within", "written"), [(False, [0, 4]), (True, [0])])
def test_after_ctrl_c_the_last_whole_iteration_is_written(
    tmp_path: Path, within: bool, written: list[int]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, within_a_step=within)
    assert steps_in(tmp_path) == written


def test_a_full_disk_ends_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = make_net()
    recorder = PositionRecorder(net, tmp_path / "run", every=1)
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("a file where the folder was")
    with caplog.at_level(logging.WARNING, "icnn_viz"):
        train(net, recorder, 1)
    assert "iteration 1 was not recorded, training goes on" in caplog.text
    with pytest.raises(CheckpointError, match="folder that can be written"):
        PositionRecorder(net, tmp_path / "run" / "deeper")


class Averaged(AveragedModel):
    """A subclass of a wrapper."""


class Partly(nn.Module):
    """A network that compiles a part of itself."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.body = torch.compile(net, backend="eager")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def each_compiled(net: nn.Sequential) -> nn.Module:
    return nn.Sequential(*(torch.compile(net[n], backend="eager") if n != 1 else net[n] for n in range(3)))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo's own
@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (lambda net: torch.compile(net, backend="eager"), ["0", "2"]),
        (nn.DataParallel, ["0", "2"]),
        (Averaged, ["0", "2"]),
        (lambda net: torch.compile(nn.DataParallel(net), backend="eager"), ["0", "2"]),
        (Partly, ["body.0", "body.2"]),
        (each_compiled, ["0", "2"]),
    ],
    ids=["compiled", "parallel", "averaged", "compiled and parallel", "compiled in part", "each compiled"],
)
def test_wrapped_networks_have_their_own_layers_names(
    tmp_path: Path, wrap: Callable[[nn.Module], nn.Module], names: list[str]
) -> None:
    model = wrap(make_net())
    with PositionRecorder(model, tmp_path, every=1) as recorder:
        train(model, recorder, 1)
    assert [cloud.layer for cloud in read_clouds(tmp_path / "00000001.safetensors")] == names
    assert [cloud.layer for cloud in clouds_from_model(model)] == names
    assert recorder.displacements[1][names[0]] > 0


def test_tensorboard_gets_numbers_and_pictures(tmp_path: Path) -> None:
    board = pytest.importorskip("torch.utils.tensorboard", reason="TensorBoard is not installed")
    net, writer = make_net(), board.SummaryWriter(str(tmp_path / "board"))
    options: dict[str, Any] = {"views": ("cloud", "layers"), "layers": ["0"], "logger": [writer]}
    with PositionRecorder(net, tmp_path / "run", every=2, **options) as recorder:
        train(net, recorder, 2)
    writer.close()
    events = read_events(tmp_path / "board")
    found = events.Scalars("displacement/2")
    assert [event.step for event in found] == [0, 2]
    assert found[1].value == pytest.approx(recorder.displacements[2]["2"])
    assert set(events.Tags()["images"]) == {"positions/0.cloud", "positions/layers"}
    (_, image) = events.Images("positions/layers")
    drawn = tmp_path / "run" / "pictures" / "00000002"
    assert sorted(path.name for path in drawn.iterdir()) == ["0.cloud.png", "layers.png"]
    assert (image.step, image.width > 300) == (2, True)


def read_events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


class Run:
    """What a run of Weights & Biases has of what is used here; it cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def define_metric(self, *_: object) -> None: ...

    def log(self, row: dict[str, Any]) -> None:
        if self.rows:
            raise ConnectionError("no server")
        self.rows.append(row)


def test_weights_and_biases_gets_both_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wandb = types.ModuleType("wandb")
    wandb.Image = lambda path: ("image", path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    net, run = make_net(), Run()
    with (
        caplog.at_level(logging.WARNING, "icnn_viz"),
        PositionRecorder(net, tmp_path, every=1, views="layers", logger=run) as recorder,
    ):
        train(net, recorder, 1)
    picture = ("image", str(tmp_path / "pictures" / "00000000" / "layers.png"))
    assert run.rows[0]["positions/layers"] == picture
    assert run.rows[0]["iteration"] == 0
    assert run.rows[0]["displacement/0"] == 0.0
    assert "Run took nothing of iteration 1: no server" in caplog.text
    assert steps_in(tmp_path) == [0, 1]


def test_a_run_of_weights_and_biases_gets_both(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    net = make_net()
    run = wandb.init(project="icnn", dir=str(tmp_path), mode="offline")
    with PositionRecorder(net, tmp_path / "run", every=1, views="layers", logger=run) as recorder:
        train(net, recorder, 1)
    summary = dict(run.summary)
    run.finish()
    assert summary["iteration"] == 1
    assert summary["displacement/0"] > 0
    assert summary["positions/layers"]["_type"] == "image-file"
    assert len(list(tmp_path.rglob("media/images/positions/*.png"))) == 2


def test_accelerates_trackers_get_them(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard", reason="TensorBoard is not installed")
    from accelerate import Accelerator

    accelerator = Accelerator(log_with="tensorboard", project_dir=str(tmp_path), cpu=True)
    accelerator.init_trackers("board")
    net = accelerator.prepare(make_net())
    with PositionRecorder(net, tmp_path / "run", every=1, logger=accelerator) as recorder:
        train(net, recorder, 1)
    accelerator.end_training()
    assert [event.step for event in read_events(tmp_path / "board").Scalars("displacement/0")] == [0, 1]
