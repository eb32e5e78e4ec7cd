"""Each variant of a study differs from the regular or irregular network in what its name says, and in nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, NameNotFoundError
from icnn_core.models.backbones import BACKBONES
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import irregular_layers
from icnn_core.training.ablation import default_start, plan_variants
from icnn_core.training.config import make_config
from icnn_core.training.runs import finish_run
from icnn_core.training.setup import prepare
from icnn_core.training.variants import VARIANTS, find_variant

SMALL = {
    "size": (40, 56),
    "train_images": 4,
    "val_images": 2,
    "batch_size": 2,
    "iterations": 2,
    "backbone": "tiny",
    "dilation_factor": 1.0,
}
LAYERS = ("backbone.layer4.conv1", "backbone.layer4.conv2", "classifier.fc1")


def common(**settings):
    return make_config("shapes", **(SMALL | {"irregular": "layer4"} | settings))


@pytest.fixture
def learnt(tmp_path):
    """The checkpoint of an irregular network whose positions lie somewhere: along x twice as far as along y."""
    model = prepare(common()).model
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in irregular_layers(model).values():
            moved = torch.randn(layer.positions.shape, generator=generator) * torch.tensor([0.3, 0.6]) + 0.1
            layer.positions.copy_(layer.slots + moved)
    return write_checkpoint(tmp_path / "irregular" / "seed-0" / "last.pt", model, classes=list("abcde"))


def build(name, folder, **settings):
    """The network of a variant whose irregular one lies in `folder`."""
    run = next(run for run in plan_variants(common(**settings), [name], [0], folder) if run.variant == name)
    return prepare(run.config).model


def positions(model):
    return {name: layer.positions.detach() for name, layer in irregular_layers(model).items()}


def test_dilations_are_scaled_where_they_are_above_one_and_checkpoints_know_it(tmp_path):
    half = build("dilation-0.5", tmp_path)
    assert half.backbone.layer1.conv.dilation == (1, 1)
    assert [half.get_submodule(name).dilation for name in LAYERS] == [(2, 2)] * 3
    assert half.backbone.layer3.conv1.dilation == half.backbone.layer3.conv1.padding == (1, 1)
    assert not irregular_layers(half)
    more = build("irregular-dilation-1.5", tmp_path)
    assert more.backbone.layer3.conv1.dilation == more.backbone.layer3.conv1.padding == (3, 3)
    fc1 = irregular_layers(more)["classifier.fc1"]
    assert fc1.slots.abs().max() == 6
    image = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    for model in (half, more):
        read = read_checkpoint(write_checkpoint(tmp_path / "a.safetensors", model.eval()))
        torch.testing.assert_close(build_model(read)(image), model(image), rtol=0, atol=0)
    twice = build("dilation-0.5", tmp_path, dilation_factor=2.0)
    assert twice.classifier.fc1.dilation == (4, 4), "the number multiplies the study's own"


def test_a_factor_that_is_none_is_refused():
    for factor in (0, -1.0, True, float("nan"), 65):
        with pytest.raises(ArgumentError, match="dilation_factor"):
            deeplab_largefov("tiny", 3, dilation_factor=factor)


@pytest.mark.parametrize("dilation", [4, 3])
def test_five_by_five_starts_as_the_same_function_with_all_taps_to_learn(tmp_path, dilation):
    settings = {"classifier_dilation": dilation}
    regular, larger = (build(name, tmp_path, **settings) for name in ("regular", "regular-5x5"))
    fc1 = larger.classifier.fc1
    assert fc1.weight.shape[2:] == (5, 5)
    extents = {4: (2, 2), 3: (3, 3)}
    assert fc1.dilation == extents[dilation], "over the same extent where that can be halved"
    assert larger.backbone.layer4.conv2.dilation == (2, 2)
    image = torch.randn(1, 3, 72, 88, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(larger.eval()(image), regular.eval()(image), rtol=1e-5, atol=1e-6)
    larger(image).square().sum().backward()
    assert (fc1.weight.grad != 0).flatten(2).any(0).any(0).all()
    with pytest.raises(CheckpointError, match="--model"):
        build_model(read_checkpoint(write_checkpoint(tmp_path / "a.pt", larger)))


def test_deformable_starts_as_the_same_function(tmp_path):
    regular, deformable = (build(name, tmp_path) for name in ("regular", "deformable-0.1"))
    image = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(deformable.eval()(image), regular.eval()(image), rtol=1e-5, atol=1e-6)
    assert [type(deformable.get_submodule(name)).__name__ for name in LAYERS] == ["DeformableConv2d"] * 3
    assert deformable.classifier.fc1.rate == 0.1
    assert build("deformable", tmp_path).classifier.fc1.rate == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_deformable_variants_offsets_learn_at_their_share_of_the_rate(tmp_path, optimizer):
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.Adam}
    moved = {}
    for name in ("deformable", "deformable-0.1"):
        torch.manual_seed(0)
        layer = build(name, tmp_path, optimizer=optimizer).classifier.fc1
        step = kinds[optimizer](layer.parameters(), lr=1e-3)
        image = torch.randn(1, layer.weight.shape[1], 9, 11, generator=torch.Generator().manual_seed(0))
        layer(image).square().sum().backward()
        step.step()
        moved[name] = layer.rate * layer.offset(image)
    torch.testing.assert_close(moved["deformable-0.1"], 0.1 * moved["deformable"], rtol=0.02, atol=1e-6)


def test_learnt_positions_are_put_permuted_and_averaged(tmp_path, learnt):
    first = positions(build_model(read_checkpoint(learnt)))
    kept, dealt, mean = (positions(build(name, tmp_path)) for name in ("learnt-frozen", "permuted", "mean"))
    for name in LAYERS:
        torch.testing.assert_close(kept[name], first[name], rtol=0, atol=0)
        assert (dealt[name] != first[name]).any()
        rows = [sorted(map(tuple, shapes[name].flatten(1).tolist())) for shapes in (dealt, first)]
        assert rows[0] == rows[1], "whole shapes change their channels"
        torch.testing.assert_close(mean[name], first[name].mean(0).expand_as(mean[name]))


def test_where_each_kernel_and_channel_has_a_shape_all_are_dealt_out_and_averaged(tmp_path):
    model = build("irregular", tmp_path, sharing="none")
    with torch.no_grad():
        for layer in irregular_layers(model).values():
            layer.positions.add_(torch.randn(layer.positions.shape))
    first = positions(model)
    write_checkpoint(tmp_path / "irregular" / "seed-0" / "last.pt", model)
    dealt, mean = (positions(build(name, tmp_path, sharing="none")) for name in ("permuted", "mean"))
    for name in LAYERS:
        shapes = [each[name].flatten(0, -3) for each in (dealt, first)]
        rows = [sorted(map(tuple, one.flatten(1).tolist())) for one in shapes]
        assert rows[0] == rows[1]
        own = [set(map(tuple, each[name][:, 0].flatten(1).tolist())) for each in (dealt, first)]
        assert own[0] != own[1], "a channel's shapes are other channels', too"
        torch.testing.assert_close(mean[name], first[name].flatten(0, -3).mean(0).expand_as(mean[name]))


def test_thrown_positions_lie_as_far_from_their_slots_as_learnt_ones_or_as_told(tmp_path, learnt):
    learnt_model = build_model(read_checkpoint(learnt))
    for name, layer in irregular_layers(build("thrown", tmp_path)).items():
        source = irregular_layers(learnt_model)[name]
        spread = [(one.positions - one.slots).square().mean((0, 1)).sqrt() for one in (layer, source)]
        torch.testing.assert_close(spread[0], spread[1], rtol=0.15, atol=0)
        assert spread[0][1] > 1.5 * spread[0][0]
        assert abs((layer.positions - layer.slots).mean()) < 0.05, "around the slots"
    told = irregular_layers(build("thrown-0.8", tmp_path / "nothing there"))["backbone.layer4.conv2"]
    assert float((told.positions - told.slots).detach().std()) == pytest.approx(0.8, rel=0.05)


def test_other_variants_are_settings_alone(tmp_path):
    gaussian = irregular_layers(build("irregular-gaussian", tmp_path))["classifier.fc1"]
    assert gaussian.interpolation == "gaussian"
    assert isinstance(gaussian.sigma, torch.nn.Parameter)
    still = irregular_layers(build("gaussian-slots", tmp_path))["classifier.fc1"]
    torch.testing.assert_close(still.positions, still.slots.expand_as(still.positions), rtol=0, atol=0)
    assert (still.positions.requires_grad, still.sigma.requires_grad) == (False, True)
    for sharing, shape in (("layer", (1, 9, 2)), ("none", (5, 56, 9, 2))):
        layer = irregular_layers(build(f"sharing-{sharing}", tmp_path))["classifier.fc1"]
        assert layer.positions.shape == shape


@pytest.mark.parametrize(
    "name", [n + "-2" * (v.number == "required") for n, v in VARIANTS.items() if n != "snapped"]
)
def test_all_variants_of_a_seed_start_from_the_same_weights(tmp_path, learnt, name):
    first, model = (build(one, tmp_path).state_dict() for one in ("regular", name))
    for key, tensor in first.items():
        other = model[key]
        if other.shape == (*tensor.shape[:2], 5, 5):
            other = other[..., ::2, ::2]
        torch.testing.assert_close(other, tensor, rtol=0, atol=0)


def test_runs_are_planned_seed_by_seed_and_what_others_take_from_comes_first(tmp_path):
    own = {"irregular": {"lr": 0.25}, "regular": {"lr": 0.125}, "mean": {"momentum": 0.5}}
    names = ["mean", "snapped", "dilation-0.5", "thrown-1", "regular", "thrown"]
    runs = plan_variants(common(), names, [3, 4], tmp_path, own)
    order = ["regular", "irregular", "mean", "snapped", "dilation-0.5", "thrown-1", "thrown"]
    assert [(run.variant, run.config.seed) for run in runs] == [
        (name, seed) for seed in (3, 4) for name in order
    ]
    assert len({run.folder for run in runs}) == 14
    source = str(runs[1].folder / "last.pt")
    configs = {run.variant: run.config for run in runs[:7]}
    assert {n: c.positions_from for n, c in configs.items() if c.positions_from} == dict.fromkeys(
        ("mean", "thrown"), source
    )
    assert {n: c.init for n, c in configs.items() if c.init} == {"snapped": source}
    assert [configs[n].lr for n in order] == [0.125, 0.25, 0.25, 0.25, 0.125, 0.25, 0.25]
    assert [configs[n].momentum for n in ("mean", "irregular")] == [0.5, 0.9]
    assert {n for n, c in configs.items() if c.position_lr == 0} == {"mean", "thrown", "thrown-1"}
    assert configs["snapped"].iterations == 0
    for name in BACKBONES:
        with torch.device("meta"):
            modules = [n for n, _ in deeplab_largefov(name, 2).named_modules()]
        assert default_start(replace(common(), irregular=None, backbone=name))
        assert modules


def test_a_preset_s_module_is_none_of_another_network():
    assert default_start(make_config("voc")) == "res4b11"
    assert default_start(make_config("voc", backbone="small")) == "layer3"
    assert default_start(make_config("voc", backbone="small", irregular="layer4")) == "layer4"
    with pytest.raises(ArgumentError, match="Name the modules yourself"):
        default_start(make_config("voc", model="mynets:make"))

    plain = {"dataset": "shapes", "train_split": "train", "weights": None, "train_images": 2, "val_images": 2}
    config = make_config("voc", backbone="tiny", **plain)
    with pytest.raises(NameNotFoundError, match="It is the preset's, for resnet101: give --irregular NAME"):
        prepare(config)
    with pytest.raises(NameNotFoundError, match="Did you mean"):
        prepare(replace(config, irregular="layer5"))


def test_a_small_study_is_finished_once_and_snapped_is_measured_alone(tmp_path, monkeypatch):
    runs = plan_variants(common(), ["regular", "permuted", "snapped"], [0], tmp_path)
    results = {run.variant: finish_run(run, ["val"])[0] for run in runs}
    assert list(results) == ["regular", "irregular", "permuted", "snapped"]
    assert results["snapped"].displacement == 0 < results["irregular"].displacement
    assert results["permuted"].displacement == pytest.approx(results["irregular"].displacement)
    states = [read_checkpoint(run.folder / "last.pt").state for run in runs]
    torch.testing.assert_close(
        states[3]["classifier.fc1.weight"], states[1]["classifier.fc1.weight"], rtol=0, atol=0
    )
    assert (states[2]["classifier.fc1.weight"] != states[1]["classifier.fc1.weight"]).any()
    monkeypatch.setattr("icnn_core.training.runs.train", lambda *a, **k: pytest.fail("trained again"))
    assert {run.variant: finish_run(run, ["val"])[0] for run in runs} == results
    other = next(run for run in runs if run.variant == "permuted")
    source = str(runs[3].folder / "last.pt")
    with pytest.raises(CheckpointError, match="others for positions_from"):
        finish_run(replace(other, config=replace(other.config, positions_from=source)), ["val"])


def test_what_cannot_be_is_refused(tmp_path, learnt):
    for name, error, said in (
        ("iregular", NameNotFoundError, "irregular"),
        ("permuted-2", NameNotFoundError, "permuted"),
        ("dilation", ArgumentError, r"dilation-0\.5"),
        ("dilation-0", ArgumentError, "above 0"),
        ("thrown-x", ArgumentError, "above 0"),
    ):
        with pytest.raises(error, match=said):
            find_variant(name)
    with pytest.raises(ArgumentError, match="irregular=None"):
        plan_variants(common(irregular=None), ["regular"], [0], tmp_path)
    with pytest.raises(ArgumentError, match="at least one variant"):
        plan_variants(common(), [], [0], tmp_path)
    with pytest.raises(ArgumentError, match="a network of this package"):
        plan_variants(replace(common(), model="a:b", dilation_factor=None), ["dilation-2"], [0], tmp_path)
    with pytest.raises(ArgumentError, match="positions_from"):
        prepare(common(variant="mean"))
    with pytest.raises(ArgumentError, match="Set irregular"):
        prepare(common(variant="mean", irregular=None))
    with pytest.raises(CheckpointError, match=r"positions of backbone\.layer3\.conv1.*none"):
        prepare(common(variant="mean", irregular="layer3", positions_from=str(learnt)))
