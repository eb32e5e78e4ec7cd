"""Training: what is measured, what a run leaves, and that stopping and going on changes nothing."""

from __future__ import annotations

import copy
import os
import signal
import tomllib

import pytest
import torch
from torch import nn

from icnn_core import build_model, deeplab_largefov, make_irregular, read_checkpoint, write_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError, TrainingError
from icnn_core.surgery import irregular_layers
from icnn_core.training.config import PRESETS, TrainConfig, config_from, make_config, to_toml
from icnn_core.training.loop import train
from icnn_core.training.loss import Objective, class_weights, segmentation_loss
from icnn_core.training.optimizers import Optimizers
from icnn_core.training.progress import mean_displacement
from icnn_core.training.setup import _warn_of_untrained_norms, prepare
from icnn_core.training.stream import read_ahead, training_batches

SMALL = {"size": (40, 56), "train_images": 7, "val_images": 2, "batch_size": 3, "iterations": 6}


def run(out, resume=False, overwrite=False, on_progress=lambda progress: None, **settings):
    config = make_config("shapes", **({**SMALL, "irregular": "backbone.layer4"} | settings))
    ready = prepare(config)
    result = train(
        ready.model, ready.train_set, ready.val_samples, ready.transform, config, out,
        resume=resume, overwrite=overwrite, on_progress=on_progress,
    )  # fmt: skip
    return result, ready.model


def states_equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_checkpoints_config_and_moved_positions(tmp_path):
    seen = []
    result, model = run(tmp_path, evaluate_every=4, on_progress=seen.append)
    assert [p.iteration for p in seen] == list(range(1, 7))
    assert [p.iteration for p in seen if p.mean_iou is not None] == [4, 6]
    assert sorted(os.listdir(tmp_path)) == ["best.pt", "config.toml", "last.pt", "snapshots"]
    snapshots = [read_checkpoint(path) for path in sorted((tmp_path / "snapshots").iterdir())]
    assert [int(snapshot.path.stem) for snapshot in snapshots] == [0, 4, 6]
    first, middle, last = (s.state["classifier.fc1.positions"] for s in snapshots)
    assert torch.equal(last, model.classifier.fc1.positions)
    assert not torch.equal(first, middle)
    assert [layer.sharing for layer in snapshots[0].irregular] == ["channel"] * 3
    checkpoint = read_checkpoint(result.checkpoint)
    assert checkpoint.metrics["mean_iou"] == result.evaluation.mean_iou
    assert checkpoint.dataset["name"] == "shapes"
    assert [layer.name for layer in checkpoint.irregular][-1] == "classifier.fc1"
    assert mean_displacement(model) > 0.01
    assert tomllib.loads((tmp_path / "config.toml").read_text())["irregular"] == "backbone.layer4"


def test_same_seed_same_weights_another_seed_others(tmp_path):
    first, again, other = (run(tmp_path / str(i), seed=s)[1].state_dict() for i, s in enumerate((1, 1, 2)))
    assert states_equal(first, again)
    assert not states_equal(first, other)


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    whole, model = run(tmp_path / "whole", evaluate_every=2)

    def press_ctrl_c(progress):
        if progress.iteration == 3:
            os.kill(os.getpid(), signal.SIGINT)

    result, _ = run(tmp_path / "parts", evaluate_every=2, on_progress=press_ctrl_c)
    assert result.interrupted
    assert result.iterations_done == 3
    assert result.evaluation is None
    resumed, same = run(tmp_path / "parts", evaluate_every=2, resume=True)
    assert not resumed.interrupted
    assert states_equal(model.state_dict(), same.state_dict())
    for name in ("last.pt", "best.pt"):
        ours, theirs = (read_checkpoint(tmp_path / d / name) for d in ("whole", "parts"))
        assert ours.metrics == theirs.metrics
    assert resumed.evaluation.mean_iou == whole.evaluation.mean_iou


def test_resuming_under_other_settings_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(CheckpointError, match=r"irregular='backbone\.layer4'.*others for irregular, lr"):
        run(tmp_path, resume=True, irregular=None, lr=0.5)
    with pytest.raises(CheckpointError, match=r"val_data\.number=2"):  # best.pt is chosen on all of them
        run(tmp_path, resume=True, val_images=1)
    run(tmp_path, resume=True, evaluate_every=1)
    with pytest.raises(CheckpointError, match="others for accumulate"):  # batch norm is trained on parts
        run(tmp_path, resume=True, accumulate=3)


def test_a_run_is_replaced_only_on_request(tmp_path):
    run(tmp_path, evaluate_every=2)
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(CheckpointError, match="--overwrite"):
        run(tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == before
    run(tmp_path, overwrite=True, iterations=1)
    assert [path.stem for path in sorted((tmp_path / "snapshots").iterdir())] == ["00000000", "00000001"]


def test_a_failed_evaluation_loses_no_training(tmp_path):
    config = make_config("shapes", **SMALL)
    ready = prepare(config)
    with pytest.raises(OSError, match="corrupt"):
        train(ready.model, ready.train_set, Corrupt(), ready.transform, config, tmp_path)
    assert read_checkpoint(tmp_path / "last.pt").training["iteration"] == 6


class Corrupt:
    def __iter__(self):
        raise OSError("corrupt")


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(CheckpointError, match="nothing there"):
        run(tmp_path, resume=True)


def test_a_folder_that_cannot_be_written_is_an_error_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="can be written"):
        run(tmp_path / "file" / "run", on_progress=lambda p: pytest.fail("trained"))


def test_a_lost_loss_names_the_iteration_and_the_layer(tmp_path):
    with pytest.raises(TrainingError, match=r"iteration \d+; the first broken gradient is that of \S+"):
        run(tmp_path, lr=1e30, optimizer="sgd", iterations=8)


def test_positions_that_are_lost_name_their_layer(tmp_path):
    def break_positions(progress):
        with torch.no_grad():
            layer.positions[0, 0] = float("nan")

    config = make_config("shapes", **SMALL, irregular="classifier", evaluate_every=1)
    ready = prepare(config)
    layer = ready.model.classifier.fc1
    with pytest.raises(TrainingError, match=r"^classifier\.fc1: needs finite positions"):
        train(
            ready.model, ready.train_set, ready.val_samples, ready.transform, config, tmp_path,
            on_progress=break_positions,
        )  # fmt: skip


def test_frozen_positions_stay_and_frozen_batch_norm_keeps_its_statistics(tmp_path):
    _, model = run(tmp_path, position_lr=0.0, shift=0.0, batch_norm="frozen")
    assert mean_displacement(model) == 0.0
    assert all(layer.positions.grad is None for layer in irregular_layers(model).values()), "nobody clears it"
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(torch.equal(m.running_mean, torch.zeros_like(m.running_mean)) for m in norms)


def test_starts_from_a_checkpoint(tmp_path):
    regular, model = run(tmp_path / "regular", irregular=None, lr=1e-9)
    _, started = run(
        tmp_path / "irregular", init=str(regular.checkpoint), lr=1e-9, position_lr=0.0, shift=0.0
    )
    name = "backbone.layer4.conv1.weight"
    torch.testing.assert_close(started.state_dict()[name], model.state_dict()[name], rtol=0, atol=1e-6)
    with pytest.raises(CheckpointError, match="irregular layers"):
        run(tmp_path / "again", init=str(tmp_path / "irregular" / "last.pt"))


@pytest.mark.parametrize("sharing", ["channel", "none"])
def test_starts_from_a_network_for_other_classes_with_a_head_of_its_own(tmp_path, caplog, sharing):
    """Weights and positions stay but those whose first axis is the classes; what it was trained on is not asked for."""
    _, model = run(tmp_path / "first", sharing=sharing)
    fewer = deeplab_largefov(**(model.architecture.arguments | {"num_classes": 3}))
    make_irregular(fewer, irregular="backbone.layer4", sharing=sharing, shift=0.4)
    write_checkpoint(tmp_path / "fewer.pt", fewer, classes=["sky", "land", "sea"])
    config = make_config("shapes", **SMALL, init=str(tmp_path / "fewer.pt"), irregular=None)
    started = prepare(config).model.state_dict()
    others = {name for name, tensor in fewer.state_dict().items() if tensor.shape != started[name].shape}
    head = {"classifier.fc1.weight", "classifier.fc1.bias"}
    assert others == head | ({"classifier.fc1.positions"} if sharing == "none" else set())
    assert all(name in caplog.text for name in others)
    for name, tensor in fewer.state_dict().items():
        assert name in others or torch.equal(tensor, started[name]), name
    assert started["classifier.fc1.weight"].std() > 0


def test_does_not_start_from_a_network_of_another_width(tmp_path):
    wide = deeplab_largefov("small", 3)
    write_checkpoint(tmp_path / "wide.pt", wide)
    narrow = read_checkpoint(tmp_path / "wide.pt")
    with pytest.raises(CheckpointError, match="size mismatch"):
        build_model(narrow, lambda: deeplab_largefov("tiny", 5), classes=5)


def test_batches_depend_on_seed_and_iteration_alone():
    samples = [(torch.full((3, 2, 3), float(i)), torch.full((2, 3), i)) for i in range(5)]

    def batches(first, last, workers=0):
        loader = training_batches(
            samples, lambda x, y, s: (x + s % 1000, y), batch_size=2, first=first, last=last, seed=4,
            workers=workers,
        )  # fmt: skip
        return [(x.tolist(), y.tolist()) for x, y in loader]

    whole = batches(0, 10)
    assert whole[6:] == batches(6, 10)
    firsts = [y[0][0] for _, labels in whole for y in [labels[0:1], labels[1:2]] for y in y]
    assert sorted(firsts[:5]) == sorted(firsts[5:10]) == list(range(5)), "every epoch shows every sample once"
    assert whole[0][0] != whole[5][0], "a sample is transformed anew in every epoch"


def test_the_classifier_learns_faster_and_positions_have_their_own_rule():
    model = prepare(make_config("shapes", **SMALL, irregular="classifier")).model
    config = make_config("shapes", lr=0.1, classifier_lr_factor=10.0, position_lr=0.5, position_rule="sgd")
    optimizers = Optimizers(model, config)
    rates = {g.get("name"): g["initial_lr"] for o in optimizers.optimizers for g in o.param_groups}
    assert rates == {"weights": 0.1, "classifier": 1.0, "positions": 0.5}
    assert [type(o).__name__ for o in optimizers.optimizers] == ["AdamW", "SGD"]
    assert optimizers.optimizers[1].param_groups[0]["lr"] == 0.0, "positions rest while they warm up"
    count = sum(p.numel() for o in optimizers.optimizers for g in o.param_groups for p in g["params"])
    assert count == sum(p.numel() for p in model.parameters())


def test_loss_and_class_weights_worked_by_hand():
    class Labels:
        classes, ignore_index = ("a", "b", "c", "never"), 9

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return None, torch.tensor([[0, 0, 0, 0, 9], [1, 1, 1, 1, 2]]) if index else torch.full((2, 5), 0)

    # 14, 4 and 1 pixels, whichever image they are in: the median is 4.
    assert class_weights(Labels(), 1.0).tolist() == pytest.approx([4 / 14, 1.0, 4.0, 1.0])
    assert class_weights(Labels(), 0.5).tolist() == pytest.approx([(4 / 14) ** 0.5, 1.0, 2.0, 1.0])
    assert class_weights(Labels(), 0.0).tolist() == [1.0] * 4

    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    masks = torch.randint(0, 4, (2, 3, 5))
    masks[0, :2] = 9
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    ours = segmentation_loss(logits, masks, weights, 9)
    torch.testing.assert_close(ours, nn.functional.cross_entropy(logits, masks, weights, ignore_index=9))
    assert segmentation_loss(logits, torch.full_like(masks, 9), weights, 9) == 0
    assert segmentation_loss(logits, masks.to(torch.uint8), weights, 9) == ours


def test_a_network_of_one_logit_learns_by_its_binary_cross_entropy():
    """Its sigmoid is then the probability, as in every library whose networks have one logit."""
    torch.manual_seed(0)
    network = nn.Conv2d(3, 1, 3, padding=1)
    images, masks = torch.randn(2, 3, 6, 5), torch.randint(0, 2, (2, 6, 5))
    masks[0, :2] = 9
    weights, labelled = torch.tensor([0.5, 3.0]), masks != 9
    each = nn.functional.binary_cross_entropy_with_logits(
        network(images)[:, 0][labelled], masks[labelled].float(), reduction="none"
    )
    counted = weights[masks[labelled]]
    objective = Objective(network, weights, 9)
    ours = objective(images, masks, counted.sum())
    torch.testing.assert_close(ours, (each * counted).sum() / counted.sum())


def test_config_survives_toml_and_refuses_what_it_does_not_know(tmp_path):
    config = make_config("camvid", root='a\\b "c"', crop=(3, 5), irregular="res4b11")
    path = tmp_path / "run.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert config_from(tomllib.loads(path.read_text(encoding="utf-8"))) == config
    assert make_config("shapes", path, batch_size=3) == TrainConfig(
        **{f: getattr(config, f) for f in config.__dataclass_fields__} | {"batch_size": 3}
    )
    assert make_config("camvid", weights=None).weights is None
    with pytest.raises(ArgumentError, match="batch_size"):
        make_config("camvid", batch_size=None)
    with pytest.raises(NameNotFoundError, match="Did you mean iterations"):
        config_from({"iteratons": 3})
    with pytest.raises(NameNotFoundError, match="camvid"):
        make_config("camvd")
    with pytest.raises(ArgumentError, match="batch_size"):
        config_from({"batch_size": "8"})
    with pytest.raises(ArgumentError, match="position_warmup"):
        make_config("shapes", position_warmup=1.0)
    path.write_text("= 3")
    with pytest.raises(ArgumentError, match="TOML"):
        make_config("shapes", path)
    assert all(make_config(name) for name in PRESETS)


def test_no_more_workers_load_than_there_are_processors(monkeypatch, recwarn):
    asked = []
    monkeypatch.setattr("icnn_core.training.stream.count_processors", lambda: 1)
    monkeypatch.setattr(
        "icnn_core.training.stream.DataLoader", lambda data, **options: asked.append(options) or []
    )
    list(read_ahead([], 8))
    assert asked[0]["num_workers"] == 1
    list(read_ahead([], 1))
    assert asked[1]["num_workers"] == 1


@pytest.mark.parametrize("rule", ["frozen", "train"])
def test_batch_norm_that_is_frozen_at_its_start_is_told(caplog, rule):
    config = make_config("shapes", **SMALL, batch_norm=rule)
    model = prepare(config).model
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert (f"batch norm is frozen, in {norms} layers at its start" in caplog.text) == (rule == "frozen")
    for statistic in ("running_mean", "running_var"):
        learnt = copy.deepcopy(model)
        for module in learnt.modules():
            if isinstance(module, nn.BatchNorm2d):
                getattr(module, statistic).add_(0.1)
        caplog.clear()
        _warn_of_untrained_norms(learnt)
        assert not caplog.records
