"""Every snippet of docs/recording.md runs as it stands, on networks and data of no size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icnn_core import make_irregular
from icnn_core.surgery import irregular_layers
from icnn_viz.positions import read_snapshots

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "recording.md"
_SNIPPETS = {
    title.partition("\n")[0]: code
    for title, code in re.findall(
        r"^## (.*?)^```python\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
}


class Labelled(nn.Module):
    """A network as transformers' Trainer wants it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.body(pixel_values)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_body() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))


def given() -> dict[str, Any]:
    """What the snippets take for granted."""
    pairs = [(torch.randn(2, 3, 9, 8), torch.randint(0, 2, (2, 9, 8))) for _ in range(3)]
    rows = [{"pixel_values": x[0], "labels": y[0]} for x, y in pairs]
    return {"torch": torch, "start": "2", "batches": pairs, "data": rows, "images": pairs[0][0], "quiet": {}}


def test_the_page_has_the_snippets_that_are_run() -> None:
    assert [title.split()[0].strip(",:") for title in _SNIPPETS] == [
        "Recording", "Lightning", "transformers", "Optimisers", "For",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Lightning and transformers warn of this machine
@pytest.mark.parametrize("title", _SNIPPETS)
def test_a_snippet_runs(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = given() | {"model": make_body()}
    recorded: list[int] | None = [0, 3]
    if title == "Lightning":
        pytest.importorskip("lightning", reason="Lightning is not installed")
        names["batches"] = torch.utils.data.DataLoader(names["batches"], batch_size=None)
        names["quiet"] = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False}
        names["quiet"] |= {"enable_progress_bar": False, "enable_model_summary": False}
    elif title == "transformers":
        pytest.importorskip("transformers", reason="transformers is not installed")
        names |= {"model": Labelled(make_body()), "start": "body.2"}
        names["quiet"] = {"num_train_epochs": 1, "per_device_train_batch_size": 1, "use_cpu": True}
        names["quiet"] |= {"report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    elif title.startswith("Optimisers"):
        timm = pytest.importorskip("timm", reason="timm is not installed")
        names["model"], recorded = timm.create_model("resnet10t"), None
        make_irregular(names["model"], irregular="layer4")
    elif title.startswith("For deployment"):
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
        recorded = None
        make_irregular(names["model"], shift=0.4)
    exec(_SNIPPETS[title], names)
    if recorded is not None:
        assert read_snapshots(tmp_path / "run")[0] == recorded
    if title.startswith("Optimisers"):
        (rate,) = {g["lr"] for g in names["optimizer"].param_groups if g.get("name") == "positions"}
        assert rate == 0.02
    if title.startswith("For deployment"):
        assert not irregular_layers(names["model"])
        assert (tmp_path / "network.onnx").stat().st_size > 1000
