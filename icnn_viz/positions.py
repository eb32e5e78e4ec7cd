"""Door 1: a checkpoint or a module -> one PositionCloud per irregular layer, in network order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icnn_core.errors import CheckpointError
from icnn_viz.records import PositionCloud

if TYPE_CHECKING:
    from torch import Tensor, nn

_LOG = logging.getLogger(__name__)


def read_clouds(path: str | Path) -> list[PositionCloud]:
    """The clouds of a checkpoint's irregular layers. A layer with positions that are not finite is logged by name.

    Raises:
        CheckpointError: the file cannot be read, or holds no irregular layer.
    """
    from icnn_core.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    if not checkpoint.irregular:
        raise CheckpointError(
            str(path),
            needed="at least one irregular layer",
            got="a network with regular convolutions only",
            fix="Give the irregular network of the pair, or train one with `icnn train`.",
        )
    clouds = []
    for depth, layer in enumerate(checkpoint.irregular):
        entry = {key: checkpoint.state[f"{layer.name}.{key}"] for key in ("weight", "positions", "slots")}
        cloud = _to_cloud(layer.name, depth, layer.dilation, layer.groups, layer.sharing, **entry)
        _warn_if_not_finite(cloud)
        clouds.append(cloud)
    return clouds


def clouds_from_model(model: nn.Module) -> list[PositionCloud]:
    """The clouds of a network's irregular layers; an empty list if it has none."""
    from icnn_core.surgery import irregular_layers

    return [
        _to_cloud(
            name or "layer",  # as the checkpoint reader calls a network that is a single layer
            depth,
            layer.dilation,
            layer.groups,
            layer.sharing,
            layer.weight,
            layer.positions,
            layer.slots,
        )
        for depth, (name, layer) in enumerate(irregular_layers(model).items())
    ]


def select_layers(clouds: Sequence[PositionCloud], patterns: Iterable[str]) -> list[PositionCloud]:
    """The clouds whose layer, or a module it lies in, has a name that a pattern matches; all if there is no pattern.

    Patterns are dotted names, their trailing parts, shell patterns, or Caffe's names ("res4b11", "fc1_voc12").

    Raises:
        NameNotFoundError: a pattern matches nothing; the nearest names are listed.
    """
    from icnn_core.surgery import match_names

    patterns = list(patterns)
    if not patterns:
        return list(clouds)
    inside = {cloud.layer: list(accumulate(cloud.layer.split("."), "{}.{}".format)) for cloud in clouds}
    known = dict.fromkeys(module for modules in inside.values() for module in modules)
    chosen = set(match_names(patterns, known, who="--layer"))
    return [cloud for cloud in clouds if chosen.intersection(inside[cloud.layer])]


def to_weight_norms(weight: np.ndarray, groups: int, sharing: str) -> np.ndarray:
    """The weights that go with each position, (kernels, channels, K): see `PositionCloud.weights`.

    Args:
        weight: (C_out, C_in/groups, kH, kW) or (C_out, C_in/groups, K).
    """
    kernels, channels = weight.shape[:2]
    flat = weight.reshape(kernels, channels, -1)
    if sharing == "none":
        return flat
    if sharing == "layer":
        return np.linalg.norm(flat, axis=(0, 1))[None, None]
    grouped = flat.reshape(groups, kernels // groups, channels, -1)
    return np.linalg.norm(grouped, axis=1).reshape(1, groups * channels, -1)


def _to_cloud(
    name: str,
    depth: int,
    dilation: tuple[int, int],
    groups: int,
    sharing: str,
    weight: Tensor,
    positions: Tensor,
    slots: Tensor,
) -> PositionCloud:
    shapes = _to_numpy(positions)
    return PositionCloud(
        layer=name,
        depth=depth,
        kernel_size=(weight.shape[-2], weight.shape[-1]),
        dilation=dilation,
        sharing=sharing,
        slots=_to_numpy(slots),
        positions=shapes if shapes.ndim == 4 else shapes[None],
        weights=to_weight_norms(_to_numpy(weight), groups, sharing),
    )


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy().copy()


def _warn_if_not_finite(cloud: PositionCloud) -> None:
    bad = int((~np.isfinite(cloud.points).all(-1)).sum())
    if bad:
        _LOG.warning(
            "%s: %d of %d positions are not finite: the training that made them diverged",
            cloud.layer,
            bad,
            cloud.points[..., 0].size,
        )
