"""What goes wrong while training: numbers that are lost, disks that are full, files that cannot be decoded."""

from __future__ import annotations

import os
import resource
import signal

import pytest
import torch
from torch import nn

from icnn_core import read_checkpoint
from icnn_core.errors import CheckpointError, DataError, ShapeError, TrainingError
from icnn_core.training.config import make_config
from icnn_core.training.loop import train
from icnn_core.training.setup import prepare
from icnn_core.training.stream import read_ahead, training_batches

SMALL = {"size": (40, 56), "train_images": 7, "val_images": 2, "batch_size": 3, "iterations": 6}


def run(out, ready=None, on_progress=lambda progress: None, resume=False, **settings):
    config = make_config("shapes", **(SMALL | {"irregular": "classifier", "checkpoint_every": 2} | settings))
    ready = ready or prepare(config)
    return train(
        ready.model, ready.train_set, ready.val_samples, ready.transform, config, out,
        on_progress=on_progress, resume=resume,
    )  # fmt: skip


def test_a_lost_gradient_names_the_iteration_and_the_layer_and_changes_nothing(tmp_path):
    """The loss stays finite: the gradient is lost on its way back, below layer3."""
    ready = prepare(make_config("shapes", **SMALL))
    before = {}

    def break_layer3(progress):
        if progress.iteration == 3:
            before.update({name: t.clone() for name, t in ready.model.state_dict().items()})
            ready.model.backbone.layer3.register_full_backward_hook(
                lambda module, given, made: tuple(g * float("nan") for g in given)
            )

    with pytest.raises(TrainingError) as raised:
        run(tmp_path, ready, break_layer3, irregular=None, batch_norm="frozen")
    assert "needs finite gradients; got NaN or infinity in iteration 4" in str(raised.value)
    named = str(raised.value).split("that of ")[1].split(".")
    assert named[:2] == ["backbone", "layer2"], "the first on the way back from the loss"
    assert "Lower lr or position_lr" in str(raised.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in ready.model.state_dict().items())
    assert read_checkpoint(tmp_path / "last.pt").training["iteration"] == 2


def test_gradients_that_are_huge_but_finite_are_none_of_it(tmp_path):
    ready = prepare(make_config("shapes", **SMALL))
    for parameter in ready.model.parameters():
        parameter.register_hook(lambda gradient: gradient * 1e20)
    run(tmp_path, ready, irregular=None, iterations=2)


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_write_that_fails_leaves_the_checkpoint_before_and_the_run_goes_on_from_it(tmp_path, name):
    """The disk is full: files may not grow beyond some kB."""
    whole = run(tmp_path / "whole", evaluate_every=3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    known, every = {}, 3 if name == "best.pt" else 5

    def fill_the_disk(progress):
        if progress.iteration == 2:
            known["last.pt"] = (tmp_path / "run" / "last.pt").read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with pytest.raises(CheckpointError, match=rf"{name}: needs a folder that can be written, with room"):
            run(tmp_path / "run", on_progress=fill_the_disk, evaluate_every=every, checkpoint_every=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "run" / "last.pt").read_bytes() == known["last.pt"]
    assert not list((tmp_path / "run").rglob(".*")), "nothing half written stays"
    resumed = run(tmp_path / "run", resume=True, evaluate_every=3)
    ours, theirs = (read_checkpoint(result.checkpoint).state for result in (whole, resumed))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_disk_that_is_full_is_an_error_before_training(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(CheckpointError, match="with room"):
            run(tmp_path, on_progress=lambda progress: pytest.fail("trained"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path):
    def terminate(progress):
        if progress.iteration == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    result = run(tmp_path, on_progress=terminate)
    assert result.interrupted
    assert read_checkpoint(tmp_path / "last.pt").training["iteration"] == 3
    assert signal.getsignal(signal.SIGTERM) == handler


class Unreadable:
    """Sample 2 cannot be read."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 2:
            raise DataError("file c.png", needed="a whole file", got="half of one", fix="Mend it.")
        return torch.zeros(3, 4, 5), torch.zeros(4, 5, dtype=torch.int64)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_comes_whole_out_of_worker_processes(workers):
    batches = training_batches(
        Unreadable(), lambda x, y, s: (x, y), batch_size=3, first=0, last=1, seed=0, workers=workers
    )  # fmt: skip
    for read in (lambda: list(batches), lambda: list(read_ahead(Unreadable(), workers))):
        with pytest.raises(
            DataError, match=r"^file c\.png: needs a whole file; got half of one\. Mend it\.$"
        ):
            read()


def test_images_of_two_sizes_do_not_fit_one_batch():
    samples = [(torch.zeros(3, 4, 5), torch.zeros(4, 5)), (torch.zeros(3, 7, 5), torch.zeros(7, 5))]
    batches = training_batches(samples, lambda x, y, s: (x, y), batch_size=2, first=0, last=1, seed=0)
    with pytest.raises(DataError, match=r"4 × 5 and 7 × 5.*crop"):
        next(iter(batches))


def test_a_network_for_other_classes_is_refused(tmp_path):
    ready = prepare(make_config("shapes", **SMALL))
    ready.model.classifier.fc1 = nn.Conv2d(ready.model.classifier.fc1.in_channels, 3, 1)
    with pytest.raises(ShapeError, match="one for each class"):
        run(tmp_path, ready, irregular=None)
