"""Drawings on disk: by one process or by several, the same files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from icnn_viz.data import builtin_path
from icnn_viz.displays import KernelDisplay, drawings
from icnn_viz.displays.drawings import Drawing, KernelOptions, draw_views, write_drawings


def test_processes_draw_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "_WORTH_PROCESSES", 2)
    display = KernelDisplay.from_checkpoint(builtin_path("shapes-irregular.safetensors"), ["fc1"])
    todo = draw_views(display, ["zoo", "cloud"], KernelOptions())
    measured: list[int] = []
    folders = [tmp_path / "one", tmp_path / "two"]
    names = []
    for n, folder in enumerate(folders, 1):
        paths = write_drawings(todo, ["png"], folder, processes=n, meanwhile=partial(measured.append, n))
        names.append([path.name for path in paths])
    assert names == [["classifier.fc1.zoo.png", "classifier.fc1.cloud.png"]] * 2
    one, two = ([path.read_bytes() for path in sorted(folder.iterdir())] for folder in folders)
    assert one == two
    assert measured == [1, 2]


def test_what_fails_meanwhile_ends_the_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "_WORTH_PROCESSES", 1)
    with pytest.raises(ZeroDivisionError):
        write_drawings([Drawing("never", list)], ["png"], tmp_path, processes=2, meanwhile=lambda: 1 / 0)
