"""What surrounds a run: signals, workers, launchers' variables, other processes, closed streams. One line each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from icnn_core.cli import main
from icnn_core.errors import ArgumentError, CheckpointError, DataError, DeviceError, TrainingError
from icnn_core.locking import locked_folder
from icnn_core.training.config import TrainConfig, make_config
from icnn_core.training.interruption import stop_requests
from icnn_core.training.loop import train
from icnn_core.training.optimizers import Optimizers
from icnn_core.training.processes import Processes
from icnn_core.training.setup import prepare
from icnn_core.training.stream import training_batches

SMALL = {"size": (40, 56), "train_images": 4, "val_images": 1, "batch_size": 2, "iterations": 2}
ARGUMENTS = ("--size", "40x56", "--train-images", 4, "--val-images", 1, "--batch-size", 2, "--iterations", 2)


def go(config: TrainConfig, out: Path, **options: bool) -> None:
    ready = prepare(config)
    train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, out, **options)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals to hang up")
def test_a_lost_terminal_ends_a_run_as_ctrl_c_does_unless_it_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with stop_requests() as asked:
            assert not asked()
            os.kill(os.getpid(), signal.SIGHUP)
            assert asked()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
        with stop_requests() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


class Killing:
    """Samples whose third one kills the worker that loads it."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(3, 4, 5), torch.zeros(4, 5, dtype=torch.int64)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_worker_is_one_line() -> None:
    batches = training_batches(
        Killing(), lambda x, y, seed: (x, y), batch_size=2, first=0, last=2, seed=0, workers=1
    )
    with pytest.raises(DataError, match=r"killed from outside.*fewer --workers"):
        list(batches)


@pytest.mark.parametrize("name", ["DEEPSPEED", "FSDP", "MEGATRON_LM"])
def test_launchers_that_cut_up_networks_are_refused_by_their_variable(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(ArgumentError, match=f"Unset ACCELERATE_USE_{name}"):
        Processes(make_config("shapes"), "cpu")
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "false")
    assert Processes(make_config("shapes"), "cpu").count == 1


@pytest.mark.parametrize("command", ["train", "ablate"])
@pytest.mark.parametrize(("rank", "world"), [("1", None), ("2", "2"), ("x", "2")])
def test_a_stray_rank_is_one_line(run_main, monkeypatch, tmp_path, command, rank, world) -> None:
    monkeypatch.setenv("RANK", rank)
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", world)
    ended = run_main(main, command, "shapes", "--out", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"RANK={rank}, WORLD_SIZE={world or 'unset'}. Unset RANK" in ended.err


def test_another_default_device_is_refused(tmp_path: Path) -> None:
    config = make_config("shapes", **SMALL)
    ready = prepare(config)
    with torch.device("meta"):
        with pytest.raises(DeviceError, match=r"got meta\. Set it back"):
            prepare(config)
        with pytest.raises(DeviceError, match=r"got meta\. Set it back"):
            train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Pooled(nn.Module):
    """Its batch norm sees one value an image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])


def test_batch_norm_that_sees_one_value_says_what_to_do(tmp_path: Path) -> None:
    config = make_config("shapes", **SMALL, accumulate=2, batch_norm="train")
    ready = prepare(config)
    with pytest.raises(TrainingError, match=r"1 images of 40 × 56.*lower --accumulate"):
        train(Pooled(), ready.train_set, ready.val_samples, ready.transform, config, tmp_path)


def test_a_rate_that_has_no_part_is_said(caplog: pytest.LogCaptureFixture) -> None:
    config = make_config("shapes", classifier_lr_factor=10.0)
    Optimizers(prepare(make_config("shapes", **SMALL)).model, config)
    assert not caplog.records
    Optimizers(Pooled(), config)
    assert "classifier_lr_factor=10 has no part" in caplog.text


def test_a_folder_in_use_is_refused_to_a_second_run(tmp_path: Path) -> None:
    config = make_config("shapes", **SMALL)
    go(config, tmp_path / "run")
    assert not (tmp_path / "run" / ".lock").exists()
    with locked_folder(tmp_path / "run", CheckpointError):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(CheckpointError, match="no other run is at work in"):
                go(config, tmp_path / "run", **options)


def test_what_cannot_be_gone_on_with_is_said_before_anything_is_loaded(
    run_main, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr("icnn_core.training.config.make_config", lambda *a, **k: pytest.fail("loaded"))
    (tmp_path / "file").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.pt").write_text("")
    for options, words in (
        (("--resume", "--out", tmp_path / "none"), "got nothing there"),
        (("--out", tmp_path / "run"), "replace it with --overwrite"),
        (("--out", tmp_path / "file"), "a file where a folder should be"),
        (("--out", tmp_path / "file" / "run"), "a file where a folder should be"),
        (("--resume", "--overwrite", "--out", tmp_path / "run"), "one of --resume and --overwrite"),
    ):
        ended = run_main(main, "train", "shapes", *options)
        assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
        assert words in ended.err


def test_a_finished_run_says_so(run_main, tmp_path: Path) -> None:
    command = ("train", "shapes", *ARGUMENTS, "--out", tmp_path / "run", "--json")
    first = json.loads(run_main(main, *command).out)
    again = run_main(main, *command, "--resume")
    assert (again.code, first["already_finished"]) == (0, False)
    assert "Already finished: all 2 iterations were done" in again.err
    found = json.loads(again.out)
    assert (found["already_finished"], found["mean_iou"]) == (True, first["mean_iou"])


SHELL = "{python} -m icnn_core.cli train shapes --size 40x56 --train-images 4 --val-images 1 --batch-size 2 {rest}"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipes")
@pytest.mark.parametrize("end", ["| head -n 1", ">&- 2>&-"])
def test_no_run_ends_because_nobody_reads(tmp_path: Path, end: str) -> None:
    rest = f"--iterations 5 --evaluate-every 1 --out {tmp_path}/run {end}"
    text = SHELL.format(python=sys.executable, rest=rest)
    ended = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in ended.stderr
    assert torch.load(tmp_path / "run" / "last.pt")["training"]["iteration"] == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_words_that_find_no_room_end_no_run_and_are_told_in_a_line(tmp_path: Path) -> None:
    rest = f"--iterations 2 --out {tmp_path}/run --json > /dev/full"
    text = SHELL.format(python=sys.executable, rest=rest)
    ended = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(
        "icnn: error: what is printed: needs a stdout that takes it"
    )
    assert torch.load(tmp_path / "run" / "last.pt")["training"]["iteration"] == 2
