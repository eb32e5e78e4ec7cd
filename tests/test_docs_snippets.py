"""The Python of two pages runs: of own-network.md section by section, of positions.md as a whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_PAGE = _DOCS / "own-network.md"
_SECTIONS = {
    title: "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))
    for title, text in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", _PAGE.read_text(encoding="utf-8"), flags=re.S | re.M
    )
}


def test_positions_learnt_elsewhere_are_drawn_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icnn_viz.positions import read_clouds

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    code = re.findall(
        r"```python\n(.*?)```", (_DOCS / "positions.md").read_text(encoding="utf-8"), flags=re.S
    )
    exec(compile("\n".join(code), "positions.md", "exec"), names)
    for written in ("encoder2.npz", "positions.csv"):
        (cloud,) = read_clouds(written)
        assert cloud.layer == "encoder.2"
        assert cloud.dilation == (2, 2)
        assert np.array_equal(cloud.positions[0], names["slots"] + names["offsets"])


@pytest.mark.parametrize("title", [title for title, code in _SECTIONS.items() if code])
@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_a_section_runs(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = _SECTIONS[title]
    for name in re.findall(
        r"^(?:import|from) (timm|segmentation_models_pytorch|transformers|monai)", code, flags=re.M
    ):
        pytest.importorskip(name)
    exec(compile(code, title, "exec"), {})
    assert "convolutions made irregular" in capsys.readouterr().out
