"""`icnn evaluate` and `convert` as a user calls them: own images, own networks, windows, restrictions, bad files."""

from __future__ import annotations

import csv
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from icnn_core import build_model, read_checkpoint, write_checkpoint
from icnn_core.cli import main
from icnn_core.datasets.labels import read_labels
from icnn_core.datasets.registry import open_dataset
from icnn_core.datasets.transforms import normalise
from icnn_core.evaluation import evaluate
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular

CLASSES = ("ground", "leaf", "stem", "flower")
SIZE = (40, 56)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of four images, and a network for it with random weights."""
    root = tmp_path_factory.mktemp("site")
    for name in ("images", "masks"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(root / "images" / f"leaf {i}.png")
        numbers = rng.choice([0, 1, 2, 255], SIZE).astype(np.uint8)
        Image.fromarray(numbers).save(root / "masks" / f"leaf {i}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES))
    torch.manual_seed(0)
    model = deeplab_largefov("tiny", 4, classifier_dilation=2)
    torch.nn.init.normal_(model.classifier.fc1.weight, std=0.3)
    torch.nn.init.constant_(model.classifier.fc1.bias[3:], -1e4)  # the last class is never predicted
    palette = [(0, 0, 0), (0, 200, 0), (90, 60, 0), (250, 0, 90)]
    write_checkpoint(root / "net.pt", model, classes=CLASSES, palette=palette, dataset={"name": "folder"})
    return root


@pytest.fixture
def evaluate_site(run_main, site):
    def run(*arguments, root=site, checkpoint=site / "net.pt"):
        fixed = ("--root", root, "--split", "all", "--device", "cpu")
        return run_main(main, "evaluate", checkpoint, *fixed, *arguments)

    return run


def test_files_table_and_json_say_the_same_as_the_library(site, evaluate_site, tmp_path):
    data = open_dataset("folder", site, "all")
    samples = [(normalise(image), labels) for image, labels in (data[i] for i in range(4))]
    want = evaluate(
        build_model(read_checkpoint(site / "net.pt")),
        samples,
        classes=CLASSES,
        ignore_index=255,
        boundary=0.02,
    )
    ended = evaluate_site("--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result == json.loads((tmp_path / "evaluation.json").read_text())
    assert result["mean_iou"] == pytest.approx(want.mean_iou)
    assert result["boundary_iou"] == pytest.approx(want.boundary_iou)
    assert (result["images"], result["never_occur"], result["segmented"]) == (4, ["flower"], "whole images")
    with open(tmp_path / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list(CLASSES)
    assert float(rows[1]["iou"]) == pytest.approx(want.iou["leaf"])
    assert (rows[3]["iou"], rows[3]["in_mean"], rows[3]["label_pixels"]) == ("", "False", "0")
    assert int(rows[2]["label_pixels"]) == sum(int((labels == 2).sum()) for _, labels in samples)
    printed = evaluate_site().out
    assert f"{100 * want.iou['stem']:.1f}" in printed
    assert f"{100 * want.mean_boundary_iou:.1f}" in printed
    assert "Left out of the mean, since they never occur: flower" in printed


def test_means_over_some_classes_say_so(evaluate_site):
    whole, some = (json.loads(evaluate_site("--json", *a).out) for a in ((), ("--classes", "Leaf,2,flower")))
    assert some["mean_over"] == ["leaf", "stem"]
    assert some["never_occur"] == ["flower"]
    assert some["mean_iou"] == pytest.approx((whole["iou"]["leaf"] + whole["iou"]["stem"]) / 2)
    assert some["pixel_accuracy"] == whole["pixel_accuracy"]
    printed = evaluate_site("--classes", "leaf,stem", "--boundary", 0).out
    assert "The means are over 2 of 4 classes: leaf, stem. Others are in parentheses." in printed
    assert "(ground)" in printed
    assert "boundary" not in printed
    ended = evaluate_site("--classes", "laef")
    assert ended.code == 1
    assert "Did you mean leaf" in ended.err


def test_windows_scales_and_mirroring_are_said_and_change_the_result(evaluate_site):
    whole = json.loads(evaluate_site("--json").out)
    tiles = json.loads(
        evaluate_site("--json", "--window", 32, "--stride", "8x24", "--scales", "1,1.5", "--flip").out
    )
    assert tiles["segmented"] == "windows of 32×32 every 8×24, scales 1, 1.5, mirrored too"
    assert tiles["mean_iou"] != whole["mean_iou"]
    resized = evaluate_site("--json", "--size", "32x48", "--boundary", 0)
    assert json.loads(resized.out)["mean_iou"] != whole["mean_iou"]


def test_predictions_are_class_ids_with_the_data_sets_colours(site, evaluate_site, tmp_path):
    assert evaluate_site("--predictions", tmp_path / "png", "--images", 2).code == 0
    assert sorted(p.name for p in (tmp_path / "png").glob("[!.]*")) == ["leaf 0.png", "leaf 1.png"]
    image, _ = open_dataset("folder", site, "all")[1]
    with torch.inference_mode():
        want = build_model(read_checkpoint(site / "net.pt"))(normalise(image)[None])[0].argmax(0)
    with Image.open(tmp_path / "png" / "leaf 1.png") as picture:
        assert np.array_equal(np.asarray(picture), want.numpy())
        assert picture.getpalette()[3:6] == list(open_dataset("folder", site, "all").palette[1])


def test_predictions_of_cityscapes_hold_the_ids_that_its_benchmark_takes(run_main, tmp_path):
    folder = tmp_path / "leftImg8bit" / "val" / "ulm"
    masks = tmp_path / "gtFine" / "val" / "ulm"
    folder.mkdir(parents=True)
    masks.mkdir(parents=True)
    Image.fromarray(np.full((24, 40, 3), 90, np.uint8)).save(folder / "ulm_0_0_leftImg8bit.png")
    Image.fromarray(np.full((24, 40), 7, np.uint8)).save(masks / "ulm_0_0_gtFine_labelIds.png")
    model = deeplab_largefov("tiny", 19, classifier_dilation=2)
    torch.nn.init.constant_(model.classifier.fc1.bias[18:], 1e4)  # bicycle everywhere: trainId 18, id 33
    net = write_checkpoint(tmp_path / "net.pt", model, classes=read_labels("cityscapes").classes)
    arguments = ("--data", "cityscapes", "--root", tmp_path, "--predictions", tmp_path / "png")
    ended = run_main(main, "evaluate", net, *arguments)
    assert ended.code == 0, ended.err
    with Image.open(tmp_path / "png" / "ulm_0_0.png") as picture:
        assert set(np.asarray(picture).ravel().tolist()) == {33}
        assert picture.convert("RGB").getpixel((3, 2)) == read_labels("cityscapes").palette[18]


def test_a_damaged_image_stops_or_is_skipped_counted_and_listed(site, evaluate_site, tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for path in (site / name).iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    bad = tmp_path / "images" / "leaf 2.png"
    bad.write_bytes(bad.read_bytes()[:500])
    ended = evaluate_site(root=tmp_path)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "leaf 2.png" in ended.err
    assert "--skip-bad" in ended.err
    ended = evaluate_site("--skip-bad", "--predictions", tmp_path / "png", root=tmp_path)
    assert ended.code == 0
    assert f"Skipped 1 image that cannot be decoded, or whose masks cannot:\n  {bad}\n" in ended.out
    assert ", 3 images, " in ended.out
    found = json.loads(evaluate_site("--skip-bad", "--json", root=tmp_path).out)
    assert (found["skipped"], found["images"], found["identity"]["images"]["number"]) == ([str(bad)], 3, 4)
    two = json.loads(evaluate_site("--skip-bad", "--json", "--images", 2, root=tmp_path).out)
    assert (two["skipped"], two["images"]) == ([], 2)
    assert sorted(p.stem for p in (tmp_path / "png").glob("[!.]*")) == ["leaf 0", "leaf 1", "leaf 3"]


def test_a_folder_holds_one_evaluation_and_another_is_refused(site, evaluate_site, tmp_path):
    shutil.copytree(site, tmp_path / "moved")
    shutil.copytree(site, tmp_path / "other")
    (tmp_path / "other" / "classes.txt").write_text("\n".join((*CLASSES[:2], "stalk", "flower")))
    checkpoint = read_checkpoint(site / "net.pt")
    model = build_model(checkpoint)
    with torch.no_grad():
        model.classifier.fc1.bias[1] += 0.5
    write_checkpoint(tmp_path / "net.pt", model, classes=CLASSES, dataset={"name": "folder"})
    out = ("--out", tmp_path / "out")
    assert evaluate_site(*out).code == 0
    kept = (tmp_path / "out" / "evaluation.json").read_bytes()
    for options, named, words in (
        ((), {"checkpoint": tmp_path / "net.pt"}, "network="),
        ((), {"root": tmp_path / "other"}, "images.classes=ground, leaf, stem, flower"),
        (("--images", 3), {}, "images.number=4"),
        (("--size", "32x48"), {}, "size=None"),
        (("--flip",), {}, "segmented='whole images'"),
        (("--boundary", 0.1), {}, "boundary_ratio=0.02"),
        (("--classes", "leaf"), {}, "mean_over"),
    ):
        ended = evaluate_site(*out, *options, **named)
        assert (ended.code, ended.err.count("\n")) == (1, 1 + ("called otherwise" in ended.err)), ended.err
        assert words in ended.err
        assert (tmp_path / "out" / "evaluation.json").read_bytes() == kept
    assert evaluate_site(*out, root=tmp_path / "moved").code == 0


def test_predictions_of_two_networks_do_not_mix(site, evaluate_site, tmp_path):
    folder = ("--predictions", tmp_path / "png")
    assert evaluate_site(*folder, "--images", 2).code == 0
    ended = evaluate_site(*folder, "--images", 1)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "images.number=2" in ended.err
    assert "another --predictions" in ended.err
    assert evaluate_site(*folder, "--images", 1, "--overwrite").code == 0
    assert sorted(p.name for p in (tmp_path / "png").glob("[!.]*")) == ["leaf 0.png"]
    assert evaluate_site(*folder, "--out", tmp_path / "png", "--images", 1).code == 0
    assert len(list((tmp_path / "png").glob("[!.]*"))) == 3


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(evaluate_site, tmp_path):
    (tmp_path / "file").write_text("mine")
    for option in ("--out", "--predictions"):
        ended = evaluate_site(option, tmp_path / "file" / "out", checkpoint=tmp_path / "nothing.pt")
        assert "a file where a folder should be" in ended.err


def test_without_any_label_nothing_is_claimed(site, evaluate_site, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "images").symlink_to(site / "images")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    for path in (site / "masks").iterdir():
        Image.fromarray(np.full(SIZE, 255, np.uint8)).save(tmp_path / "masks" / path.name)
    assert json.loads(evaluate_site("--json", root=tmp_path).out)["mean_iou"] is None
    assert "No pixel is labelled: nothing was measured." in evaluate_site(root=tmp_path).out


NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3, padding=1)

    def forward(self, x):
        return {"out": self.conv(x), "aux": None}

def make_net(num_classes=7):
    return Net(num_classes)

def make_nothing():
    return 3

def make_trouble():
    raise ValueError("no such thing")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of one's own in the working folder, and a state dict of its network with 4 classes."""
    (tmp_path / "ownnets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "ownnets", None)  # so that it is taken away again
    del sys.modules["ownnets"]
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 3, padding=1)
    torch.save({"conv.weight": conv.weight.detach(), "conv.bias": conv.bias.detach()}, tmp_path / "own.pt")
    return tmp_path / "own.pt"


def test_a_network_of_ones_own_is_measured_and_converted(own, evaluate_site, run_main):
    named = ("--data", "folder", "--model", "ownnets:make_net")
    ended = evaluate_site(*named, "--json", checkpoint=own)
    assert ended.code == 0, ended.err
    assert 0 < json.loads(ended.out)["mean_iou"] < 1
    weights = read_checkpoint(own).state["conv.weight"]
    assert weights.shape[0] == 4
    # a plain state dict says nothing of classes: the function's own 7 do not fit
    ended = run_main(
        main, "convert", own, "--irregular", "conv", "--out", "x.pt", "--model", "ownnets:make_net"
    )
    assert (ended.code, "own.pt" in ended.err) == (1, True)
    code = (own.parent / "ownnets.py").read_text().replace("num_classes=7", "num_classes=4")
    (own.parent / "four.py").write_text(code)
    ended = run_main(
        main, "convert", own, "--irregular", "conv", "--shift", 0, "--out", "x.pt", "--model", "four:make_net"
    )
    assert ended.code == 0, ended.err
    again = evaluate_site("--data", "folder", "--model", "four:make_net", "--json", checkpoint="x.pt")
    assert json.loads(again.out)["mean_iou"] == pytest.approx(
        json.loads(evaluate_site(*named, "--json", checkpoint=own).out)["mean_iou"], abs=1e-3
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "ownnets:make_ent"], "Did you mean make_net"),
        (["--model", "ownnets:make_nothing"], "int from make_nothing"),
        (["--model", "ownnets:make_trouble"], "ValueError: no such thing"),
        (["--model", "ownnets"], "package.module:function"),
        (["--model", "no_such_nets:f"], "No module named"),
        ([], "--model package.module:factory"),
    ],
)
def test_what_is_wrong_with_ones_own_network_is_named(own, evaluate_site, arguments, said):
    ended = evaluate_site("--data", "folder", *arguments, checkpoint=own)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert said in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--window", "7y9"],
        ["--window", "0"],
        ["--scales", "big"],
        ["--size", "1x2x3"],
        ["--size", "²x3"],
        ["--boundary", "2"],
    ],
)
def test_usage_errors_exit_2(evaluate_site, arguments):
    assert evaluate_site(*arguments).code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stride", "9"], "Give the window"),
        (["--window", "9", "--stride", "10"], "Make it smaller"),
        (["--data", "voc", "--root", "nowhere", "--split", "val"], "nowhere"),
        (["--data", "camvid"], "camvid"),
        (["--device", "nothing"], "--device"),
    ],
)
def test_known_errors_are_one_line_and_exit_1(evaluate_site, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    ended = evaluate_site(*arguments)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert said in ended.err


def test_classes_in_another_order_are_refused_and_other_names_are_said(site, evaluate_site, tmp_path, caplog):
    for name in ("images", "masks"):
        (tmp_path / name).symlink_to(site / name)
    (tmp_path / "classes.txt").write_text("\n".join(reversed(CLASSES)))
    ended = evaluate_site(root=tmp_path)
    assert ended.code == 1
    assert "in another order" in ended.err
    (tmp_path / "classes.txt").write_text("\n".join([*CLASSES[:3], "blossom"]))
    ended = evaluate_site(root=tmp_path)
    assert ended.code == 0
    assert "flower as blossom" in ended.err


def test_convert_takes_both_naming_schemes_and_goes_back(run_main, tmp_path):
    torch.manual_seed(0)
    model = deeplab_largefov("resnet18", 3).eval()
    write_checkpoint(tmp_path / "regular.pt", model, classes=("a", "b", "c"))
    written = []
    for name in ("res5b", "backbone.layer4.1"):
        out = tmp_path / f"{name}.pt"
        ended = run_main(
            main,
            "convert",
            tmp_path / "regular.pt",
            "--irregular",
            name,
            "--sharing",
            "none",
            "--out",
            out,
            "--json",
        )
        assert ended.code == 0, ended.err
        written.append(json.loads(ended.out)["layers"])
        assert {layer.sharing for layer in read_checkpoint(out).irregular} == {"none"}
    assert written[0] == written[1]
    assert written[0] == ["backbone.layer4.1.conv1", "backbone.layer4.1.conv2", "classifier.fc1"]
    ended = run_main(
        main, "convert", tmp_path / "res5b.pt", "--irregular", "none", "--out", tmp_path / "back.safetensors"
    )
    assert ended.code == 0
    assert "3 layers snapped back" in ended.out
    back = build_model(read_checkpoint(tmp_path / "back.safetensors"))
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True)
    )


def test_without_a_name_the_whole_network_becomes_irregular_and_classes_are_kept_with_it(
    site, run_main, tmp_path
):
    (tmp_path / "names.json").write_text('{"classes": ["void", "cat"], "palette": [[1, 2, 3], [4, 5, 6]]}')
    classes = (
        ["--classes", tmp_path / "names.json"]
        if "cat" not in read_checkpoint(site / "net.pt").classes
        else []
    )
    ended = run_main(main, "convert", site / "net.pt", *classes, "--out", tmp_path / "all.pt")
    assert ended.code == 0, ended.err
    found = read_checkpoint(tmp_path / "all.pt")
    whole = build_model(read_checkpoint(site / "net.pt"))
    assert [layer.name for layer in found.irregular] == list(make_irregular(whole).replaced)
    assert (found.classes, found.palette) == (("void", "cat"), ((1, 2, 3), (4, 5, 6)))
    ended = run_main(main, "convert", tmp_path / "all.pt", "--out", tmp_path / "again.pt")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "already irregular" in ended.err
    assert "--irregular none" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--irregular", "layr4"], "Did you mean"),
        (["--irregular", "res9a"], "res9a"),
        (["--irregular", "layer4", "--sharing", "chanel"], "Did you mean channel"),
        (["--irregular", "none"], "irregular layers to snap back"),
        (["--classes", "absent.txt"], "absent.txt"),
    ],
)
def test_what_cannot_be_converted_is_named(site, run_main, tmp_path, arguments, said):
    ended = run_main(main, "convert", site / "net.pt", "--out", tmp_path / "x.pt", *arguments)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert said in ended.err
    assert not (tmp_path / "x.pt").exists()


def test_a_folder_that_cannot_be_written_is_named(site, run_main):
    ended = run_main(
        main, "convert", site / "net.pt", "--irregular", "fc1", "--out", site / "net.pt" / "x.pt"
    )
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "can be written" in ended.err
