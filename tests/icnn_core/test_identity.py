"""What decides a folder's numbers: what is the same, what differs, and how that is said."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from icnn_core.datasets.registry import open_dataset
from icnn_core.errors import ArgumentError
from icnn_core.identity import check_identity, describe_data, digest_content, digest_weights, keep_identity
from icnn_core.models.deeplab import deeplab_largefov


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("ground\nthing\n")
    for number in range(6):
        mask = np.zeros((9, 13), np.uint8)
        mask[2:4, : number + 1] = 1
        Image.fromarray(np.full((9, 13, 3), 20 * number, np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def describe(root: Path, count: int | None = None) -> dict:
    return describe_data(open_dataset("folder", root, "all"), count)


def test_a_data_set_that_only_moved_is_the_same_one(photos: Path, tmp_path: Path) -> None:
    before = describe(photos)
    assert (before["name"], before["classes"], before["number"]) == ("folder", ["ground", "thing"], 6)
    shutil.copytree(photos, tmp_path / "elsewhere")
    assert describe(tmp_path / "elsewhere") == before
    assert describe(photos, 9) == before
    assert describe(photos, 5) != before


def test_other_images_other_masks_another_order_of_classes_are_another_one(photos: Path) -> None:
    before = describe(photos)
    (photos / "classes.txt").write_text("thing\nground\n")
    assert describe(photos)["images"] == before["images"]
    assert describe(photos)["classes"] == ["thing", "ground"]
    (photos / "classes.json").write_text('{"classes": ["ground", "thing"], "ids": [1, 0]}')
    assert describe(photos)["images"] != before["images"], "the numbers in the masks mean something else"
    (photos / "classes.json").unlink()
    (photos / "classes.txt").write_text("ground\nthing\n")
    for kind in ("images", "masks"):
        kept = (photos / kind / "3.png").read_bytes()
        (photos / kind / "3.png").write_bytes(kept + b"\0")
        assert describe(photos)["images"] != before["images"]
        (photos / kind / "3.png").write_bytes(kept)
    for kind in ("images", "masks"):
        (photos / kind / "3.png").rename(photos / kind / "3b.png")
    assert describe(photos)["images"] != before["images"]


def test_drawn_images_are_told_by_what_is_drawn() -> None:
    drawn = [
        describe_data(open_dataset("shapes", None, "val", size=(40, width)), 3) for width in (56, 56, 48)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != describe_data(open_dataset("shapes", None, "test", size=(40, 56)), 3)


def test_weights_are_told_by_their_values_types_and_what_no_tensor_holds() -> None:
    def net(**options: int) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 3, 3, **options), nn.BatchNorm2d(3))

    model = net()
    digest = digest_weights(model)
    assert digest_weights(net()) == digest
    assert digest_weights(model.eval()) == digest
    assert digest_weights(net(dilation=2)) != digest, "its tensors are the same"
    assert digest_weights(net().to(torch.bfloat16)) != digest
    with torch.no_grad():
        model[1].running_var[1] += 1e-6
    assert digest_weights(model) != digest
    state = net().state_dict()
    assert digest_weights(dict(reversed(state.items()))) == digest_weights(state)
    assert digest_weights({"a": torch.zeros(2, 3)}) != digest_weights({"a": torch.zeros(3, 2)})
    near, far = (deeplab_largefov("tiny", 3, classifier_dilation=d) for d in (2, 4))
    far.load_state_dict(near.state_dict())
    assert digest_weights(near) != digest_weights(far)


def test_an_identity_is_kept_and_what_differs_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "survey.json"
    mine = {
        "networks": {"a": "01", "b": None},
        "size": (40, 56),
        "data": {"name": "x", "classes": ["p", "q"]},
    }
    keep_identity(path, mine, ArgumentError)
    keep_identity(path, mine, ArgumentError)
    assert not caplog.records
    for other, words in (
        ({"size": None}, r"needs what it was made with, size=40, 56; got others for size \(size=None\)"),
        ({"data": {"name": "x", "classes": ["q", "p"]}}, r"data\.classes=p, q"),
        ({"networks": {"a": "01"}}, r"others for networks\.b"),
        ({"networks": {"a": "01", "b": None, "c": "02"}}, r"others for networks\.c \(networks\.c='02'\)"),
        ({"networks": {"a": "02", "b": None}, "size": 3}, r"others for networks\.a, size"),
    ):
        with pytest.raises(ArgumentError, match=words):
            keep_identity(path, mine | other, ArgumentError)
    path.write_text("{")
    with pytest.raises(ArgumentError, match="Remove the folder"):
        keep_identity(path, mine, ArgumentError)


def test_another_version_and_what_it_did_not_record_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "survey.json"
    path.write_text(json.dumps({"seed": 3, "version": "0.0.7"}))
    with caplog.at_level(logging.WARNING):
        keep_identity(path, {"seed": 3, "size": None}, ArgumentError)
    assert [("0.0.7" in text, "size" in text) for text in caplog.messages] == [(True, False), (False, True)]
    with pytest.raises(ArgumentError, match="seed=3"):
        check_identity(tmp_path, {"seed": 3, "version": "0.0.7"}, {"seed": 4}, ArgumentError)


def test_nested_content_is_told_by_each_of_its_values() -> None:
    def content() -> dict:
        return {
            "optimizers": [{"state": {0: {"step": 3.0, "mean": torch.arange(6.0).view(2, 3)}}}],
            "random": (1, None),
        }

    digest = digest_content(content())
    assert digest_content({key: content()[key] for key in ("random", "optimizers")}) == digest
    for change in (
        lambda c: c["optimizers"][0]["state"][0].update(step=3.0000000000000004),
        lambda c: c["optimizers"][0]["state"][0]["mean"].view(-1)[5].add_(1e-6),
        lambda c: c["optimizers"].append({}),
        lambda c: c.update(random=(None, 1)),
        lambda c: c.update(random=(1, None, None)),
    ):
        other = content()
        change(other)
        assert digest_content(other) != digest
