"""`icnn-viz explore`: what it starts, writes and refuses."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs

from icnn_core.checkpoint import write_checkpoint
from icnn_core.datasets.registry import open_dataset
from icnn_core.models.deeplab import deeplab_largefov
from icnn_core.surgery import make_irregular
from icnn_viz.cli import main
from icnn_viz.data import builtin_path
from icnn_viz.displays.sources import read_shapes
from icnn_viz.explorer.shelf import make_shelf

Run = Callable[..., Any]
_ROOT = Path(__file__).resolve().parents[2]


def test_without_dash_it_says_in_one_line_what_to_install(
    run_main: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "dash" else find(name, *rest)
    )
    ended = run_main(main, "explore", "--no-browser")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert 'pip install "icnn-viz[explore]"' in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--export", "page.txt"), ".html"),
        (("--size", "big"), "HEIGHTxWIDTH"),
        (("--size", "²x3"), "HEIGHTxWIDTH"),
        (("--model", "a:b"), "checkpoint"),
        (("--port", "70000"), "65535"),
    ],
)
def test_wrong_usage_ends_with_2(run_main: Run, arguments: tuple[str, ...], words: str) -> None:
    ended = run_main(main, "explore", *arguments)
    assert ended.code == 2
    assert words in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--image", "nowhere.png"), "nothing there"),
        (("--data", "shape"), "shapes"),
        (("nowhere.pt",), "nothing there"),
        (("--snapshots", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_used_ends_with_1_before_a_server_starts(
    run_main: Run, arguments: tuple[str, ...], words: str
) -> None:
    ended = run_main(main, "explore", *arguments, "--no-browser", "--device", "cpu")
    assert ended.code == 1
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_data_set_with_other_classes_than_the_networks_is_refused(run_main: Run, tmp_path: Path) -> None:
    model = deeplab_largefov("tiny", 3)
    make_irregular(model, "classifier")
    write_checkpoint(tmp_path / "net.pt", model, classes=("a", "b", "c"))
    ended = run_main(
        main,
        "explore",
        tmp_path / "net.pt",
        "--data",
        "shapes",
        "--device",
        "cpu",
        "--export",
        tmp_path / "page.html",
    )
    assert ended.code == 1
    assert "classes of shapes; got one for 3" in ended.err
    assert not (tmp_path / "page.html").exists()


def test_images_named_come_first_then_the_data_set(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    Image.fromarray(drawn).save(tmp_path / "street.png")
    dataset = open_dataset("shapes", None, "test")
    shelf = make_shelf([tmp_path / "street.png"], dataset, "shapes test", 2048)
    names = list(shelf.names().values())
    assert names[:2] == ["street.png", "shapes test 0"]
    np.testing.assert_array_equal(shelf.get("0").image, drawn)
    labelled = shelf.get("1")
    assert labelled.labels is not None
    assert labelled.labels.shape == labelled.image.shape[:2]
    assert list(make_shelf([], None, "", 2048).names().values()) == ["sample"]


def test_snapshots_lie_beside_the_checkpoint(tmp_path: Path) -> None:
    clouds, read_run = read_shapes(builtin_path("shapes-irregular.safetensors"), None)
    assert len(clouds) > 1
    assert read_run is not None, "those of the shipped pair's training"
    alone = shutil.copy(builtin_path("shapes-regular.safetensors"), tmp_path)
    assert read_shapes(Path(alone), None) == ([], None)


def test_a_page_is_exported_and_described(
    run_main: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icnn_viz.explorer import export

    monkeypatch.setattr(export, "write_page", functools.partial(export.write_page, most_pixels=2))
    ended = run_main(main, "explore", "--export", tmp_path / "page.html", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "heatmaps of 2 × 1 pixels, one every 80.0 × 120.0 pixels of the image, at full size" in ended.out
    assert (tmp_path / "page.html").stat().st_size - len(get_plotlyjs().encode()) < 300_000


def test_it_serves_on_this_machine_alone_until_interrupted() -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in background jobs
    code += "; from icnn_viz.cli import main; main()"
    arguments = ["explore", "--port", "0", "--no-browser", "--device", "cpu"]
    started = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        assert line.startswith("Explorer at http://127.0.0.1:")
        address = line.split()[2]
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"icnn explorer" in page.read()
        foreign = urllib.request.Request(address, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(foreign, timeout=60)
        refused.value.close()
    finally:
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=60)
    assert started.returncode == 0
    assert out.strip() == "Ended."
    assert err == ""
