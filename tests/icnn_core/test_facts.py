"""Records say what matters of them in a line, and on a notebook's page without trusting names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from icnn_core import make_irregular, read_checkpoint, write_checkpoint
from icnn_core.evaluation import Evaluation
from icnn_core.facts import Facts


class _Person(Facts):
    def _facts(self) -> dict[str, str]:
        return {"name": "<b>Ada</b>", "age": "36"}


def test_a_record_is_shown_by_its_facts() -> None:
    assert repr(_Person()) == "_Person(name: <b>Ada</b>, age: 36)"
    page = _Person()._repr_html_()
    assert "&lt;b&gt;Ada" in page
    assert "<b>" not in page


def test_a_surgery_says_what_was_made_irregular_and_why_the_rest_was_not() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    surgery = make_irregular(model)
    assert repr(surgery) == "Surgery(made irregular: 1: 0, left as they are, 1×1: 2: 1, 2)"
    assert repr(make_irregular(model[1:])).startswith("Surgery(made irregular: none")


def test_an_evaluation_says_its_measures() -> None:
    confusion = np.array([[6, 2, 0], [0, 1, 0], [0, 0, 0]])
    said = repr(Evaluation(confusion, ("road", "car", "tree")))
    assert "mean IoU: 54.2%" in said  # (6/8 + 1/3) / 2: no pixel is or was called a tree
    assert "77.8% of 9 pixels" in said
    assert "road 75.0%, car 33.3%" in said
    assert "nothing counted" in repr(Evaluation(np.zeros((1, 1), np.int64), ("road",)))


def test_a_checkpoint_is_not_shown_by_its_tensors(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, (3, 2), bias=False))
    make_irregular(model)
    path = write_checkpoint(
        tmp_path / "net.pt",
        model,
        classes=("<i>cow</i>", "sky"),
        dataset={"name": "field"},
        metrics={"mean_iou": 0.43217, "by_class": {"sky": 1.0}},
    )
    said = repr(read_checkpoint(path))
    assert len(said) < 400
    for words in (
        "a plain state dict",
        "irregular layers: 0,",
        "<i>cow</i>, sky",
        "field",
        "mean_iou: 0.4322",
    ):
        assert words in said
    assert "numbers: 72" in said  # 36 weights, 24 coordinates, 12 of the slots
    assert "<i>" not in read_checkpoint(path)._repr_html_()
