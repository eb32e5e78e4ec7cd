"""Clouds and gradients that tests and figures can be checked on, and what makes a figure tidy."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from icnn_viz.records import PixelGradient, PositionCloud

if TYPE_CHECKING:
    from icnn_viz import HeatmapExplorer
    from icnn_viz.explorer.session import Session


def _make_cloud(
    layer: str = "features.3",
    *,
    kernel_size: tuple[int, int] = (3, 3),
    dilation: tuple[int, int] = (2, 3),
    kernels: int = 1,
    channels: int = 40,
    sharing: str = "channel",
    depth: int = 0,
    spread: float = 0.4,
    seed: int = 0,
) -> PositionCloud:
    random = np.random.default_rng(seed)
    rows, columns = np.indices(kernel_size).reshape(2, -1)
    centre = (np.array(kernel_size) - 1) / 2
    slots = (np.stack([rows, columns], 1) - centre) * dilation
    noise = random.normal(size=(kernels, channels, len(slots), 2)) * (spread, 0.5 * spread)
    weights = random.normal(size=(kernels, channels, len(slots)))
    return PositionCloud(
        layer=layer,
        depth=depth,
        kernel_size=kernel_size,
        dilation=dilation,
        sharing=sharing,
        slots=slots,
        positions=slots + noise,
        weights=weights if sharing == "none" else np.abs(weights),
    )


@pytest.fixture(scope="session")
def make_cloud() -> Callable[..., PositionCloud]:
    """Builds a random cloud: kernel_size, dilation, kernels, channels, sharing, depth, spread, seed by name."""
    return _make_cloud


def _make_gradient(
    network: str = "irregular", seed: int = 0, shape: tuple[int, int] = (24, 37), **changes: Any
) -> PixelGradient:
    pixel = changes.pop("pixel", (shape[0] * 3 // 8, shape[1] * 20 // 37))
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    envelope = np.exp(-((y - pixel[0]) ** 2 + (x - pixel[1]) ** 2) / (2 * (3 + seed) ** 2))
    values: dict[str, Any] = {
        "network": network,
        "image": rng.integers(0, 256, (*shape, 3), np.uint8),
        "pixel": pixel,
        "gradient": (rng.laplace(size=(3, *shape)) * envelope * 1e-4).astype(np.float32),
        "class_id": 1,
        "classes": ("background", "bicyclist on a road"),
        "prediction": (envelope > 0.5).astype(int),
        "logit": -12.345,
    }
    return PixelGradient(**(values | changes))


@pytest.fixture(scope="session")
def make_gradient() -> Callable[..., PixelGradient]:
    """Builds a random gradient around a pixel (3/8 down, 20/37 across): network, seed, shape, and fields by name."""
    return _make_gradient


class _DrawnNetwork:
    """Answers with random gradients of 24 × 37 pixels, takes `delay` seconds each; remembers what it was asked."""

    classes = ("background", "ring", "bar")

    def __init__(self, name: str, seed: int, predicted: int, delay: float) -> None:
        self.name, self.seed, self.predicted, self.delay = name, seed, predicted, delay
        self.calls: list[tuple[tuple[int, int], int | None, str]] = []
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    def look(self, image: np.ndarray, targets: Sequence[Any], method: str, seed: int) -> list[PixelGradient]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self.calls += [(target.pixel, target.class_id, method) for target in targets]
        time.sleep(self.delay)
        found = [
            _make_gradient(
                self.name,
                self.seed,
                image.shape[:2],
                pixel=target.pixel,
                image=image,
                method=method,
                classes=self.classes,
                class_id=self.predicted if target.class_id is None else target.class_id,
            )
            for target in targets
        ]
        with self._lock:
            self._now -= 1
        return found


def _make_session(
    predicted: tuple[int, int] = (1, 0), delay: float = 0.0, read_run: Any = None, **options: Any
) -> Session:
    from icnn_viz.explorer.session import Session
    from icnn_viz.explorer.shelf import Shelf, Source

    image = np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)
    labels = np.zeros((24, 37), np.int64)
    labels[:, 14:32] = 1
    names = ("irregular", "regular")
    networks = [_DrawnNetwork(name, n, predicted[n], delay) for n, name in enumerate(names)]
    sources = [Source("plain", lambda: (image, None)), Source("labelled", lambda: (255 - image, labels))]
    return Session(networks, Shelf(sources, 2048), read_run=read_run, **options)


@pytest.fixture(scope="session")
def make_session() -> Callable[..., Session]:
    """Builds an explorer's session: two drawn networks and images of 24 × 37 pixels, "0" without labels, "1" with."""
    return _make_session


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[HeatmapExplorer], list[dict[str, str]]]:
    """Gives what a notebook's cell that ends in a HeatmapExplorer puts on the page."""

    def publish(explorer: HeatmapExplorer) -> list[dict[str, str]]:
        bundles: list[dict[str, str]] = []
        monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
        explorer._ipython_display_()
        return bundles

    return publish


@pytest.fixture(scope="session")
def assert_tidy() -> Callable[[Figure], None]:
    """Asserts that no text of a matplotlib figure is clipped, lies on a panel or on another text."""
    return _assert_tidy


def _assert_tidy(figure: Figure) -> None:
    """Every text lies inside the figure and none meets another or a panel; panels do not meet."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    panels = [ax.get_window_extent(renderer) for ax in figure.axes]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in _texts(figure) if t.get_text()]
    assert len(boxes) > 6
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text!r} is clipped"
        assert not any(_overlap(box, panel) for panel in panels), f"{text!r} lies on a panel"
    for (a, first), (b, second) in itertools.combinations(boxes, 2):
        assert not _overlap(first, second), f"{a!r} overlaps {b!r}"
    for first, second in itertools.combinations(panels, 2):
        assert not _overlap(first, second)


def _texts(figure: Figure) -> list[Any]:
    texts = list(figure.texts)
    for ax in figure.axes:
        texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    return texts


def _overlap(a: Any, b: Any) -> bool:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width > 0.5 and height > 0.5
