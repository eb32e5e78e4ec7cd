"""Presets hold the paper's numbers, and what presets do not hold comes from TOML or the command line."""

from __future__ import annotations

import tomllib

import pytest

from icnn_core.checkpoint import write_checkpoint
from icnn_core.errors import ArgumentError, CheckpointError, DataError, NameNotFoundError
from icnn_core.training.config import config_from, make_config, parse_setting, to_toml
from icnn_core.training.optimizers import Optimizers
from icnn_core.training.presets import PRESETS
from icnn_core.training.setup import prepare

PAPER = {
    "backbone": "resnet101", "weights": "imagenet", "irregular": "res4b11", "classifier_dilation": 12, "batch_size": 16,
    "optimizer": "sgd", "lr": 0.001, "momentum": 0.9, "weight_decay": 5e-4, "power": 0.9,
    "classifier_lr_factor": 10.0, "position_rule": "sgd", "position_lr": 50.0, "position_warmup": 0.0,
    "step_bound": 0.1, "scale": (0.5, 1.5), "mirror": True, "batch_norm": "frozen", "balance": 0.0, "size": None,
}  # fmt: skip
ROWS = {
    "voc": {"dataset": "voc", "train_split": "train_aug", "val_split": "val", "crop": (321, 321), "iterations": 20_000},
    "voc-context": {
        "dataset": "context", "train_split": "train", "val_split": "val", "crop": (321, 321), "iterations": 20_000,
    },
    "cityscapes": {
        "dataset": "cityscapes", "train_split": "train", "val_split": "val", "crop": (473, 473), "iterations": 45_000,
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", ROWS)
def test_the_papers_presets_hold_the_papers_numbers(preset):
    config = make_config(preset)
    wanted = PAPER | ROWS[preset]
    assert {name: getattr(config, name) for name in wanted} == wanted


def test_the_papers_rule_for_positions_is_sgd_at_50_on_the_same_schedule():
    model = prepare(make_config("shapes", size=(40, 56), irregular="fc1")).model
    optimizers = Optimizers(model, make_config("voc"))
    assert optimizers.rates() == {"weights": 0.001, "classifier": 0.01, "positions": 50.0}
    assert [type(o).__name__ for o in optimizers.optimizers] == ["SGD", "SGD"]
    assert [o.param_groups[0]["weight_decay"] for o in optimizers.optimizers] == [5e-4, 0.0]
    for _ in range(3):
        optimizers.step()
    left = (1 - 3 / 20_000) ** 0.9
    assert optimizers.rates() == pytest.approx(
        {"weights": 0.001 * left, "classifier": 0.01 * left, "positions": 50 * left}
    )


@pytest.mark.parametrize("preset", ["shapes", "camvid", "folder"])
def test_elsewhere_positions_move_by_pixels_after_a_rest(preset):
    config = make_config(preset)
    assert (config.position_rule, config.position_lr, config.position_warmup) == ("adam", 0.05, 0.1)
    assert config.irregular is None


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_config_that_was_written_is_the_one_that_is_read_whatever_the_preset(preset, tmp_path):
    config = make_config("shapes", lr=0.5)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert make_config(preset, path) == config, "also where the preset is irregular and this is not"


def test_none_takes_back_what_a_preset_sets():
    assert make_config("voc", irregular="none").irregular is None
    assert make_config("voc", irregular=None, weights=None).weights is None, "None is none, not unset"
    assert make_config("voc").irregular == "res4b11"
    assert make_config("voc", sharing="none").sharing == "none", "where none is a value it stays one"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("momentum=0.95", ("momentum", 0.95)),
        ("crop = [321, 473]", ("crop", [321, 473])),
        ("backbone=resnet50", ("backbone", "resnet50")),
        ('weights="a=b.pt"', ("weights", "a=b.pt")),
        ("mirror=false", ("mirror", False)),
    ],
)
def test_settings_are_written_as_in_toml(text, want):
    assert parse_setting(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("scale=1,1", (1.0, 1.0)),
        ("scale=0.5,1.5", (0.5, 1.5)),
        ("scale=[0.5, 2]", (0.5, 2.0)),
        ("size=180x240", (180, 240)),
        ("size=128", (128, 128)),
        ('size="96"', (96, 96)),
        ("crop=100×120", (100, 120)),
        ("crop=none", None),
    ],
)
def test_settings_may_be_spelt_as_their_options_are(tmp_path, text, want):
    key, value = parse_setting(text)
    assert getattr(config_from({key: value}), key) == want
    path = tmp_path / "config.toml"
    path.write_text(
        text if "[" in text or '"' in text else f'{key} = "{text.partition("=")[2]}"', encoding="utf-8"
    )
    assert getattr(make_config("shapes", path), key) == want


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scale=1", "scale as two numbers, e.g. 0.5,1.5"),
        ("scale=1,2,3", "scale as two numbers"),
        ("scale=1,x", "scale as two numbers"),
        ("scale=1,inf", "finite"),
        ("momentum=7", "momentum from 0 to below 1"),
        ("weight_decay=-1", "weight_decay at least 0"),
        ("power=-3", "power at least 0"),
        ("classifier_lr_factor=-1", "classifier_lr_factor at least 0"),
        ("shift=-1", "shift at least 0"),
        ("sigma=0", "sigma above 0"),
        ("sharing=foo", "sharing 'layer' or 'channel' or 'none'"),
        ("size=1x2x3", "size as HEIGHTxWIDTH"),
        ("size=0x4", "size at least 1 × 1"),
        ("crop=-3", "crop at least 1 × 1"),
        ("size=true", "size as HEIGHTxWIDTH"),
        ("mirror=yes", "mirror as true or false"),
        ("iterations=1.5", "iterations as a whole number"),
    ],
)
def test_other_spellings_are_refused_with_the_right_one(text, said):
    with pytest.raises(ArgumentError, match=said):
        config_from(dict([parse_setting(text)]))


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(ArgumentError, match="key=value"):
        parse_setting("momentum")


def test_older_checkpoints_say_frozen_batch_norm():
    assert config_from({"frozen_batch_norm": True}).batch_norm == "frozen"
    assert config_from({"frozen_batch_norm": False}).batch_norm == "train"


def test_a_file_cannot_have_code_imported(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('model = "mynets:make"\n', encoding="utf-8")
    with pytest.raises(ArgumentError, match="--model"):
        make_config("shapes", path)
    with pytest.raises(ArgumentError, match="--model"):
        make_config("shapes", path, model="others:make")
    config = make_config("shapes", path, model="mynets:make")
    assert config_from(tomllib.loads(to_toml(config))).model == "mynets:make"
    with pytest.raises(ArgumentError, match="not imported because a config names it"):
        prepare(config)


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("voc", "JPEGImages"),
        ("voc-context", "JPEGImages"),
        ("cityscapes", "leftImg8bit"),
        ("folder", "nowhere"),
    ],
)
def test_a_missing_folder_is_one_clear_line(tmp_path, preset, words):
    with pytest.raises(DataError, match=rf"{words}.*needs this folder; got nothing there"):
        prepare(make_config(preset, root=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="the folder in which it was unpacked"):
        prepare(make_config(preset))


def test_options_of_one_data_set_are_no_options_of_another(tmp_path):
    (tmp_path / "CamVid").mkdir()
    with pytest.raises(ArgumentError, match="png_order"):
        prepare(make_config("camvid", root=str(tmp_path / "CamVid"), png_order="sorted"))


@pytest.mark.data
def test_the_voc_preset_takes_a_part_of_voc_and_a_small_network(data_dir):
    config = make_config(
        "voc", root=str(data_dir / "voc12_animals"), backbone="squeezenet1_0", weights="none", irregular="features.12",
        size=[120, 160], crop=[113, 129],
    )  # fmt: skip
    ready = prepare(config)
    assert (len(ready.train_set), len(ready.val_samples)) == (437, 200)
    image, mask = ready.transform(*ready.train_set[5], 1)
    assert (tuple(image.shape), tuple(mask.shape)) == ((3, 113, 129), (113, 129))
    with pytest.raises(NameNotFoundError, match="res4b11"):
        prepare(make_config("voc", root=config.root, backbone="squeezenet1_0", weights="none"))


def test_a_presets_crop_follows_the_size_and_a_larger_one_is_refused():
    assert make_config("camvid", size=(60, 300)).crop == (60, 240)
    assert make_config("camvid", size=(360, 480)).crop == (180, 240)
    assert make_config("voc", size=[128, 128]).crop == (128, 128)
    assert make_config("camvid", size=(100, 200), crop=(150, 300)).crop == (
        150,
        300,
    )  # of images scaled by 1.5
    with pytest.raises(
        ArgumentError, match=r"at most 1\.5 times their size of 100 × 200; got crop 151 × 300"
    ):
        make_config("camvid", size=(100, 200), crop=(151, 300))
    with pytest.raises(ArgumentError, match="crop 400 × 400"):
        make_config("camvid", crop=(400, 400))


def test_a_network_for_the_same_classes_in_another_order_is_no_start(tmp_path):
    ready = prepare(make_config("shapes", size=(40, 56), train_images=2, val_images=1))
    names = list(ready.train_set.classes)
    for order, ok in ((names, True), (names[::-1], False)):
        path = write_checkpoint(tmp_path / "a.pt", ready.model, classes=order)
        config = make_config("shapes", size=(40, 56), train_images=2, val_images=1, init=str(path))
        if ok:
            prepare(config)
        else:
            with pytest.raises(CheckpointError, match="in another order"):
                prepare(config)
