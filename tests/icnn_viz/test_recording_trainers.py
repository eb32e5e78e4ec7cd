"""Positions recorded out of tiny real trainings in Lightning and transformers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icnn_core import IrregularConv2d
from icnn_core.errors import CheckpointError
from icnn_viz.positions import read_snapshots

QUIET = pytest.mark.filterwarnings(
    "ignore"
)  # both warn of this machine: few workers, no GPU, future versions


def make_body() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(IrregularConv2d(2, 3, (3, 2), shift=0.0), nn.ReLU(), nn.Conv2d(3, 2, 1))


def make_images(count: int) -> torch.Tensor:
    return torch.randn(count, 2, 7, 6, generator=torch.Generator().manual_seed(1))


def steps_and_moves(folder: Path, layer: str) -> tuple[list[int], list[float]]:
    steps, snapshots = read_snapshots(folder)
    assert [cloud.layer for cloud in snapshots[0]] == [layer]
    return steps, [float(abs(clouds[0].displacements).mean()) for clouds in snapshots]


@pytest.fixture
def lightning() -> Any:
    """Lightning, and its callback here."""
    pytest.importorskip("lightning", reason="Lightning is not installed")
    import lightning.pytorch as pl

    return pl


def make_module(pl: Any, manual: bool = False) -> Any:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.body = make_body()
            self.automatic_optimization = not manual

        def training_step(self, batch: torch.Tensor) -> Any:
            loss = self.body(batch).square().mean()
            if manual:
                for optimizer in self.optimizers():
                    optimizer.zero_grad()
                self.manual_backward(loss)
                for optimizer in self.optimizers():
                    optimizer.step()
                return None
            if getattr(self, "stops_at", None) == self.global_step:
                raise KeyboardInterrupt
            return loss

        def configure_optimizers(self) -> Any:
            positions = [p for name, p in self.named_parameters() if "positions" in name]
            weights = [p for name, p in self.named_parameters() if "positions" not in name]
            if manual:
                return torch.optim.Adam(positions, lr=0.05), torch.optim.SGD(weights, lr=0.1)
            return torch.optim.SGD(self.parameters(), lr=0.5)

    return Module()


def fit(
    pl: Any, module: Any, root: Path, *callbacks: Any, checkpoint: Path | None = None, **options: Any
) -> Any:
    loader = torch.utils.data.DataLoader(make_images(12), batch_size=2)
    silent = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    options = {"max_epochs": 1, "logger": False, "enable_checkpointing": False} | silent | options
    trainer = pl.Trainer(
        accelerator="cpu", default_root_dir=root, callbacks=list(callbacks), devices=1, **options
    )
    trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=False)
    return trainer


@QUIET
def test_lightning_counts_in_steps_of_the_optimiser(tmp_path: Path, lightning: Any) -> None:
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from icnn_viz.recording.lightning import PositionCallback

    loggers = [TensorBoardLogger(tmp_path, version="board"), CSVLogger(tmp_path, version="table")]
    callback = PositionCallback(tmp_path / "run", every=2, views=["cloud"])
    module = make_module(lightning)
    options = {"precision": "bf16-mixed", "accumulate_grad_batches": 2, "logger": loggers}
    trainer = fit(lightning, module, tmp_path, callback, **options)
    steps, moves = steps_and_moves(tmp_path / "run", "body.0")
    assert steps == [0, 2, 3]  # six batches in pairs
    assert moves[0] == 0 < moves[1] < moves[2]
    trainer.save_checkpoint(tmp_path / "saved.ckpt")

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "lightning_logs" / "board")).Reload()
    assert [event.step for event in events.Scalars("displacement/body.0")] == [0, 2, 3]
    assert [event.step for event in events.Images("positions/body.0.cloud")] == [0, 2, 3]
    assert "displacement/body.0" in (tmp_path / "lightning_logs" / "table" / "metrics.csv").read_text()

    with pytest.raises(CheckpointError, match="folder without a recording"):
        fit(lightning, make_module(lightning), tmp_path, PositionCallback(tmp_path / "run"))
    resumed = PositionCallback(tmp_path / "run", every=2)
    fit(
        lightning, make_module(lightning), tmp_path, resumed, checkpoint=tmp_path / "saved.ckpt", max_epochs=2
    )
    steps, again = steps_and_moves(tmp_path / "run", "body.0")
    assert steps == [0, 2, 3, 4, 6, 8, 9]
    assert again[:3] == moves


@QUIET
def test_lightning_with_two_optimisers_and_a_compiled_module(tmp_path: Path, lightning: Any) -> None:
    from icnn_viz.recording.lightning import PositionCallback

    module = torch.compile(make_module(lightning, manual=True), backend="eager")
    fit(lightning, module, tmp_path, PositionCallback(tmp_path / "run", every=3))
    assert steps_and_moves(tmp_path / "run", "body.0")[0] == [0, 4, 6, 10, 12]  # two a batch


@QUIET
def test_ctrl_c_in_lightning_keeps_the_last_step(tmp_path: Path, lightning: Any) -> None:
    from icnn_viz.recording.lightning import PositionCallback

    module = make_module(lightning)
    module.stops_at = 3
    before = signal.getsignal(signal.SIGINT)  # which Lightning switches off for good
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        fit(lightning, module, tmp_path, PositionCallback(tmp_path / "run"))
    signal.signal(signal.SIGINT, before)
    steps, moves = steps_and_moves(tmp_path / "run", "body.0")
    assert steps == [0, 3]
    assert moves[1] > 0


@QUIET
def test_the_trainer_of_lightnings_other_package(tmp_path: Path) -> None:
    other = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is not installed")
    from icnn_viz.recording.lightning import PositionCallback

    fit(other, make_module(other), tmp_path, PositionCallback(tmp_path / "run", every=4))
    assert steps_and_moves(tmp_path / "run", "body.0")[0] == [0, 4, 6]


class Pictures(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": make_images(6)[index], "labels": torch.ones(2, 5, 5)}


class Network(nn.Module):
    """What transformers' Trainer asks of a network: a loss for labels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make_body()

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.body(pixel_values)
        return {"loss": (logits - 1).square().mean(), "logits": logits}


@QUIET
def test_transformers_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from icnn_viz.recording.transformers import PositionCallback

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))

    def train(epochs: int, **resume: Any) -> None:
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"), num_train_epochs=epochs, per_device_train_batch_size=1,
            gradient_accumulation_steps=2, learning_rate=0.1, report_to="tensorboard", use_cpu=True,
            save_strategy="epoch", disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = transformers.Trainer(Network(), arguments, train_dataset=Pictures())
        trainer.add_callback(PositionCallback(tmp_path / "run", every=2, logger=trainer))
        trainer.train(**resume)

    train(1)
    steps, moves = steps_and_moves(tmp_path / "run", "body.0")
    assert steps == [0, 2, 3]
    assert (moves[0], len(set(moves))) == (0, 3)
    with pytest.raises(CheckpointError, match="folder without a recording"):
        train(1)
    train(2, resume_from_checkpoint=True)
    steps, again = steps_and_moves(tmp_path / "run", "body.0")
    assert steps == [0, 2, 3, 4, 6]
    assert again[:3] == moves

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert {0, 2, 3, 4, 6} <= {event.step for event in events.Scalars("displacement/body.0")}
