"""The Python of docs/own-network.md runs, section by section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "own-network.md"
_SECTIONS = {
    title: "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))
    for title, text in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", _PAGE.read_text(encoding="utf-8"), flags=re.S | re.M
    )
}


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
