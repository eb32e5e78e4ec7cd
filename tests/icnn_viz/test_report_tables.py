"""The tables and the model card of a report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from icnn_core.checkpoint import Checkpoint, IrregularLayer
from icnn_core.models.architecture import Architecture
from icnn_viz.report.card import _plain, to_card
from icnn_viz.report.tables import Cell, Column, to_table


def make_checkpoint(path: Path, **changes: object) -> Checkpoint:
    """A 1×1 convolution (5 × 2), a regular 3×2 one (4 × 5) and an irregular 3×3 one (3 × 4), by their tensors."""
    path.write_bytes(b"abc")
    state = {
        "stem.weight": torch.zeros(5, 2, 1, 1),
        "stem.bias": torch.zeros(5),
        "norm.running_mean": torch.zeros(5),
        "body.weight": torch.zeros(4, 5, 3, 2),
        "head.weight": torch.zeros(3, 4, 3, 3),
        "head.positions": torch.zeros(4, 9, 2),
        "head.slots": torch.zeros(9, 2),
    }
    layer = IrregularLayer("head", (3, 3), (2, 3), "channel")
    return Checkpoint(path, state, (layer,), **changes)  # type: ignore[arg-type]


def facts_of(checkpoint: Checkpoint) -> dict[str, str]:
    return {name: values[0] for name, values in to_card({"irregular": checkpoint}).facts}


def test_numbers_are_written_short_and_kept_whole() -> None:
    frame = pd.DataFrame(
        {"layer": ["a", "b"], "share": [0.12345, None], "count": [12345, -2]}
    ).convert_dtypes()
    columns = (Column("layer", "layer"), Column("share", "share", ".1%"), Column("count", "n", ",.0f"))
    table = to_table(frame, "x", "words", columns)
    assert table.rows == (
        (Cell("a", "a"), Cell("12.3%", "0.12345"), Cell("12,345", "12345")),
        (Cell("b", "b"), Cell("–", ""), Cell("−2", "-2")),
    )
    assert [column.is_number for column in table.columns] == [False, True, True]


def test_the_card_counts_what_is_learnt(tmp_path: Path) -> None:
    facts = facts_of(make_checkpoint(tmp_path / "net.pt"))
    assert facts["numbers in the weights"] == f"{10 + 5 + 120 + 108:,}"
    assert facts["numbers in the positions"] == f"72 ({72 / 315:.2%} of all)"
    assert facts["SHA-256, first 16 digits"] == "ba7816bf8f01cfea"  # of "abc", FIPS 180-2
    assert facts["architecture"].startswith("not told")


def test_the_card_says_what_the_surgery_did(tmp_path: Path) -> None:
    config = {"irregular": "head", "root": "/home/someone/data", "sbd_root": "/home/someone/sbd", "lr": 0.1}
    card = to_card({"irregular": make_checkpoint(tmp_path / "net.pt", dataset={"config": config})})
    first, regular, pointwise = card.surgery_words
    assert "1 of 3 convolutions" in first
    assert "“head”" in first
    assert "larger than 1×1: 1" in regular
    assert "stay regular always: 1" in pointwise
    rows = [[cell.text for cell in row] for row in card.surgery.rows]
    assert rows == [
        ["body", "regular", "3×2", "–", "–", "4", "5", "0"],
        ["head", "irregular", "3×3", "2×3", "input channel", "3", "4", "36"],
    ]
    told = {name: values for name, values, _ in card.settings}
    assert (told["root"], told["sbd_root"]) == (("data",), ("sbd",))


def test_two_networks_stand_side_by_side(tmp_path: Path) -> None:
    classes = {"classes": ("sky", "road"), "palette": ((255, 0, 1), (2, 3, 4))}
    one = make_checkpoint(
        tmp_path / "a.pt", metrics={"mean_iou": 0.5, "iou": {"sky": 0.75, "road": 0.25}}, dataset={"config": {"lr": 1}},
        architecture=Architecture("deeplab_largefov", {"backbone": "tiny"}), **classes,
    )  # fmt: skip
    other = make_checkpoint(tmp_path / "b.pt", metrics={"iou": {"sky": 0.5}}, dataset={"config": {"lr": 2}})
    card = to_card({"irregular": one, "regular": other})
    assert card.settings == (("lr", ("1", "2"), True),)
    assert card.classes == (("sky", "#ff0001"), ("road", "#020304"))
    assert card.iou is not None
    assert [[cell.text for cell in row] for row in card.iou.rows] == [
        ["sky", "75.0", "50.0", "+25.0"],
        ["road", "25.0", "–", "–"],
    ]
    facts = dict(card.facts)
    assert facts["mean IoU, by the file"] == ("50.0%", "–")
    assert facts["its arguments"] == ("backbone = tiny", "–")


def test_a_file_may_say_nonsense_of_itself(tmp_path: Path) -> None:
    metrics = {"mean_iou": "high", "iou": ["x"], "pixel_accuracy": float("nan"), "iteration": {"a": 1}}
    checkpoint = make_checkpoint(tmp_path / "net.pt", metrics=metrics, dataset={"config": 3, "name": None})
    facts = facts_of(checkpoint)
    assert facts["mean IoU, by the file"] == "–"
    assert facts["iteration"] == '{"a": 1}'
    assert to_card({"irregular": checkpoint}).iou is None


def test_a_list_is_written_as_a_reader_would() -> None:
    assert _plain([180, 240]) == "180, 240"
    assert _plain([[0.5, "a"], None]) == "0.5, a, –"
    assert _plain({"size": 3}) == '{"size": 3}'
