"""A batch gives the same weights whole, in parts one after another, and in parts over processes."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import nn

from icnn_core import StepBound, read_checkpoint
from icnn_core.errors import ArgumentError, TrainingError
from icnn_core.optim import position_parameters
from icnn_core.training.config import make_config
from icnn_core.training.loop import train
from icnn_core.training.loss import class_weights, segmentation_loss
from icnn_core.training.optimizers import Optimizers
from icnn_core.training.processes import Processes
from icnn_core.training.progress import mean_displacement
from icnn_core.training.setup import prepare
from icnn_core.training.stream import share, training_batches
from icnn_core.training.update import Updater

# Crops larger than the images: parts differ much in how many of their pixels are labelled.
SETTINGS = {
    "size": (40, 56), "crop": (48, 64), "scale": (0.5, 1.2), "train_images": 7, "val_images": 3, "batch_size": 4,
    "iterations": 3, "irregular": "classifier", "batch_norm": "frozen", "balance": 0.5, "evaluate_every": 2,
    "optimizer": "sgd", "lr": 0.05, "position_rule": "sgd", "position_lr": 100.0, "position_warmup": 0.0,
}  # fmt: skip
_SCRIPT = """
import os, sys
import accelerate, numba, scipy.linalg  # which training loads on its way
import torch
from icnn_core.training.config import make_config
from icnn_core.training.loop import train
from icnn_core.training.processes import leave_processes
from icnn_core.training.setup import prepare

become_two()
out = f"{{sys.argv[1]}}/{{os.environ['RANK']}}"
for accumulate in (1, 2):
    config = make_config("shapes", **{settings!r}, accumulate=accumulate)
    ready = prepare(config)
    train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, f"{{out}}/{{accumulate}}")

config = make_config("shapes", **({settings!r} | {{"batch_norm": "train"}}))
ready = prepare(config)
train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, f"{{out}}/statistics")
sums = [None, None]
torch.distributed.all_gather_object(sums, [float(buffer.sum()) for buffer in ready.model.buffers()])
assert sums[0] == sums[1], "each process measured another network"
leave_processes()  # or a thread of the group may outlive its process, which then aborts
"""


def run(out, **settings):
    config = make_config("shapes", **(SETTINGS | settings))
    ready = prepare(config)
    train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, out)
    return ready.model.state_dict()


def assert_close(ours, theirs):
    moved = ours["classifier.fc1.positions"] - ours["classifier.fc1.slots"]
    assert moved.abs().max() > 0.01, "else this shows little"
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The checkpoint of one process that sees each batch at once."""
    out = tmp_path_factory.mktemp("whole")
    run(out)
    return read_checkpoint(out / "last.pt")


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_parts_give_the_weights_of_the_whole_batch(whole, tmp_path, accumulate):
    assert_close(whole.state, run(tmp_path, accumulate=accumulate))


def test_two_processes_give_the_weights_of_one(whole, run_two_processes, tmp_path):
    run_two_processes(tmp_path, _SCRIPT.format(settings=SETTINGS))
    assert not (tmp_path / "1").exists(), "the first process alone writes"
    for accumulate in ("1", "2"):
        checkpoint = read_checkpoint(tmp_path / "0" / accumulate / "last.pt")
        assert_close(whole.state, checkpoint.state)
        assert len(checkpoint.training["random"]) == 2
        for measure in ("mean_iou", "pixel_accuracy"):  # each process measures other images
            assert checkpoint.metrics[measure] == pytest.approx(whole.metrics[measure], abs=5e-3)


def test_one_process_does_what_a_plain_loop_does_bit_for_bit(tmp_path):
    settings = {
        "optimizer": "adamw",
        "lr": 0.005,
        "position_rule": "adam",
        "position_lr": 0.05,
        "dropout": 0.3,
    }
    trained = run(tmp_path, **settings, irregular="backbone.layer4")
    config = make_config("shapes", **(SETTINGS | settings | {"irregular": "backbone.layer4"}))
    ready = prepare(config)
    model = ready.model.to(memory_format=torch.channels_last).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    weights = class_weights(ready.train_set, config.balance)
    positions = position_parameters(model)
    own = {id(p) for p in positions}
    others = [p for p in model.parameters() if id(p) not in own]
    optimizers = [
        torch.optim.AdamW(others, lr=config.lr, weight_decay=config.weight_decay),
        torch.optim.Adam(positions, lr=config.position_lr, eps=1e-12),
    ]
    StepBound(optimizers[1], model, config.step_bound)
    batches = training_batches(
        ready.train_set, ready.transform, batch_size=4, first=0, last=3, seed=config.seed
    )
    torch.manual_seed(config.seed)
    for iteration, (images, masks) in enumerate(batches):
        loss = segmentation_loss(
            model(images.contiguous(memory_format=torch.channels_last)), masks, weights, 255
        )
        for optimizer, lr in zip(optimizers, (config.lr, config.position_lr), strict=True):
            optimizer.param_groups[0]["lr"] = lr * (1 - iteration / 3) ** 0.9
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in model.state_dict().items())


def test_bfloat16_trains_and_measures_in_float32(tmp_path):
    config = make_config("shapes", **SETTINGS, precision="bf16")
    ready = prepare(config)
    seen = []
    ready.model.classifier.fc1.register_forward_hook(
        lambda layer, given, made: seen.append((made.dtype, layer.training))
    )
    train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, tmp_path)
    assert {(torch.bfloat16, True), (torch.float32, False)} == set(seen)
    assert all(p.dtype == torch.float32 for p in ready.model.parameters())


def test_synchronised_batch_norm_keeps_the_networks_names():
    class Two(Processes):
        def __init__(self):
            self.count, self.rank, self.device = 2, 0, torch.device("cpu")

        def prepare(self, module):
            return module

    config = make_config("shapes", **(SETTINGS | {"batch_norm": "sync"}))
    model = prepare(config).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Updater(model, config, Two(), torch.ones(5), 255)
    kinds = [type(module) for module in model.modules()]
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_settings_of_a_launcher_do_not_scale_gradients(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    x = torch.ones(2, requires_grad=True)
    Processes(make_config("shapes"), "cpu").backward(3 * x.sum())
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 3.0]


def test_networks_that_a_launcher_would_cut_up_are_refused(monkeypatch):
    from accelerate import Accelerator, DistributedType

    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(ArgumentError, match="got FSDP"):
        Processes(make_config("shapes"), "cpu")


def test_shares_together_are_all_samples_each_once():
    samples = list(range(7))
    assert [list(share(samples, rank, 3)) for rank in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.fixture
def scaled(monkeypatch):
    """Losses scaled as for float16, though computed in float32: sets the first scale, and counts skipped steps."""

    def scale_from(first):
        skipped = []
        skip = Optimizers.skip
        monkeypatch.setattr(Optimizers, "skip", lambda self: (skipped.append(1), skip(self)))
        begin = Processes.__init__

        def with_scaler(self, *arguments):
            begin(self, *arguments)
            self._accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=first, growth_interval=2)

        monkeypatch.setattr(Processes, "__init__", with_scaler)
        return skipped

    return scale_from


def test_a_scaled_loss_gives_the_same_weights(whole, tmp_path, scaled):
    skipped = scaled(1024.0)
    assert_close(whole.state, run(tmp_path, accumulate=2))
    assert not skipped


def test_steps_that_overflow_are_skipped_until_the_scale_fits(tmp_path, scaled):
    skipped = scaled(2.0**127)
    config = make_config("shapes", **(SETTINGS | {"iterations": 12, "evaluate_every": 0}))
    ready = prepare(config)
    ready.model.classifier.fc1.bias.register_hook(lambda gradient: gradient * 100)  # beyond float32 at first
    train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, tmp_path)
    assert 1 <= len(skipped) < 12
    assert all(bool(tensor.isfinite().all()) for tensor in ready.model.state_dict().values())
    assert mean_displacement(ready.model) > 0.002, "from 0.0008"


def test_the_scale_of_losses_is_kept_and_gone_on_with(tmp_path, scaled):
    scaled(1024.0)
    run(tmp_path)
    assert (
        read_checkpoint(tmp_path / "last.pt").training["scaler"]["scale"] == 2048.0
    )  # doubled after two steps
    config = make_config("shapes", **SETTINGS)
    ready = prepare(config)
    train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, tmp_path, resume=True)
    assert read_checkpoint(tmp_path / "last.pt").training["scaler"]["scale"] == 2048.0


def test_a_run_stopped_between_two_changes_of_the_scale_counts_on(tmp_path, scaled):
    scaled(1024.0)
    config = make_config("shapes", **(SETTINGS | {"iterations": 6, "evaluate_every": 0}))

    def go(out, *, resume=False, stop_after=None):
        def stop(progress):
            if progress.iteration == stop_after:
                os.kill(os.getpid(), signal.SIGINT)

        ready = prepare(config)
        data = (ready.train_set, ready.val_samples, ready.transform)
        train(ready.model, *data, config, out, resume=resume, on_progress=stop)
        return read_checkpoint(out / "last.pt").training["scaler"]

    at_once = go(tmp_path / "at once")
    assert at_once["scale"] == 8192.0  # doubled after every second step
    stopped = go(tmp_path / "parts", stop_after=3)
    assert (stopped["scale"], stopped["_growth_tracker"]) == (2048.0, 1)
    assert go(tmp_path / "parts", resume=True) == at_once


def test_a_gradient_that_no_scale_saves_ends_the_run(tmp_path, scaled):
    scaled(4.0)
    ready = prepare(make_config("shapes", **SETTINGS))
    ready.model.classifier.fc1.weight.register_hook(lambda gradient: gradient * float("nan"))
    config = make_config("shapes", **(SETTINGS | {"iterations": 12}))
    with pytest.raises(
        TrainingError, match=r"iteration 4; .* classifier\.fc1\.weight"
    ):  # 4, 2, 1, then below 1
        train(ready.model, ready.train_set, ready.val_samples, ready.transform, config, tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"precision": "fp16"}, "needs a CUDA device for precision fp16"),
        ({"accumulate": 3}, "accumulate that divides batch_size"),
        ({"precision": "fp8"}, "precision 'no' or 'bf16' or 'fp16'"),
        ({"batch_norm": "frost"}, "batch_norm 'frozen' or 'train' or 'sync'"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(tmp_path, settings, words):
    with pytest.raises(ArgumentError, match=words):
        run(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
