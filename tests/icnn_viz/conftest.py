"""Clouds that tests and figures can be checked on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from icnn_viz.records import PositionCloud


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
