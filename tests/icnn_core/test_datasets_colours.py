"""Masks in colours: read through a palette, turned into ids, and refused where a colour means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icnn_core.cli import main
from icnn_core.datasets.colours import read_colour_mask, read_palette_table
from icnn_core.datasets.registry import open_dataset
from icnn_core.errors import DataError

ROAD, SKY, NONE = (128, 64, 128), (70, 130, 180), (0, 0, 0)
DRAWN = np.array([[ROAD, SKY, SKY], [NONE, ROAD, SKY]], np.uint8)


def _save(path: Path, rgb: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, **options)


def _folder(root: Path, mask: np.ndarray, classes: dict[str, Any]) -> Any:
    for number in range(2):
        _save(root / "images" / f"{number}.png", np.zeros((2, 3, 3), np.uint8))
        _save(root / "masks" / f"{number}.png", mask)
    (root / "classes.json").write_text(json.dumps(classes))
    return open_dataset("folder", root, "all")


def test_a_folder_reads_masks_in_the_colours_of_its_palette(tmp_path: Path) -> None:
    known: dict[str, Any] = {"classes": ["road", "sky"], "palette": [ROAD, SKY]}
    data = _folder(tmp_path / "void", DRAWN, known | {"void_colours": [NONE]})
    assert data[1][1].tolist() == [[0, 1, 1], [255, 0, 1]]
    rgba = np.dstack([DRAWN, np.where((DRAWN == 0).all(-1), 0, 255).astype(np.uint8)])
    assert _folder(tmp_path / "rgba", rgba, known)[0][1].tolist() == [[0, 1, 1], [255, 0, 1]]
    numbered = _folder(
        tmp_path / "ids", DRAWN, known | {"ids": [7, 26], "void_ids": [4], "void_colours": [NONE]}
    )
    assert numbered[0][1].tolist() == [[0, 1, 1], [255, 0, 1]]
    with pytest.raises(DataError, match=r"got \(0, 0, 0\), in 1 of 6 pixels.*void_colours"):
        _folder(tmp_path / "strange", DRAWN, known)[0]
    with pytest.raises(DataError, match=r"mode RGB.*palette in classes\.json.*import-masks"):
        _folder(tmp_path / "plain", DRAWN, {"classes": ["road", "sky"]})[0]
    with pytest.raises(DataError, match="of one colour"):
        _folder(tmp_path / "twice", DRAWN, known | {"void_colours": [SKY]})


def test_colours_that_were_blurred_are_refused(tmp_path: Path) -> None:
    _save(tmp_path / "a.jpg", np.repeat(np.repeat(DRAWN, 9, 0), 9, 1))
    with pytest.raises(DataError, match="a JPEG, which blurs colours"):
        read_colour_mask(tmp_path / "a.jpg", {ROAD: 0})
    _save(tmp_path / "b.png", np.dstack([DRAWN, np.full((2, 3), 90, np.uint8)]))
    with pytest.raises(DataError, match="half transparent"):
        read_colour_mask(tmp_path / "b.png", {ROAD: 0})


@pytest.mark.parametrize(
    "text",
    [
        "name,r,g,b\nroad,128,64,128\nsky,70,130,180\n",
        "128 64 128 road\n70 130 180 sky\n",
        "road\t128\t64\t128\nsky\t70\t130\t180",
    ],
)
def test_tables_of_colours_as_they_are_about(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.txt").write_text(text)
    assert read_palette_table(tmp_path / "p.txt") == (["road", "sky"], [ROAD, SKY])
    (tmp_path / "q.txt").write_text("name,r,g,b\nroad,128,64,300\n")
    with pytest.raises(DataError, match="line 2: road 128 64 300"):
        read_palette_table(tmp_path / "q.txt")


def test_the_command_lists_colours_then_writes_ids_that_train(
    run_main: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        _save(Path("drawn") / f"{number}.png", DRAWN)
        _save(Path("mine/images") / f"{number}.png", np.zeros((2, 3, 3), np.uint8))
    listed = json.loads(run_main(main, "import-masks", "drawn", "--json").out)["colours"]
    assert listed[0] == {"rgb": list(SKY), "share": 0.5}
    Path("p.csv").write_text("road,128,64,128\nsky,70,130,180\n")
    call = ("import-masks", "drawn", "--palette", "p.csv", "--out", "mine/masks")
    refused = run_main(main, *call)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "(0, 0, 0)" in refused.err
    assert not Path("mine/masks").exists()
    ended = run_main(main, *call, "--void", "0,0,0")
    assert ended.code == 0, ended.err
    data = open_dataset("folder", "mine", "all")
    assert (data.classes, data.palette) == (("road", "sky"), (ROAD, SKY))
    assert data[0][1].tolist() == [[0, 1, 1], [255, 0, 1]]
    with Image.open("mine/masks/0.png") as written:
        assert written.mode == "P"
        assert written.convert("RGB").getpixel((1, 0)) == SKY
    again = run_main(main, *call, "--void", "0,0,0")
    assert again.code == 1
    assert "--overwrite" in again.err
