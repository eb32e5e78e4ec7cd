"""Choose layers by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from icnn_core.layer_names import match_names
from icnn_viz.records import PositionCloud


def select_layers(clouds: Sequence[PositionCloud], patterns: Iterable[str]) -> list[PositionCloud]:
    """The clouds whose layer, or a module it lies in, has a name that a pattern matches; all if there is no pattern.

    Patterns are dotted names, their trailing parts, shell patterns, or Caffe's names ("res4b11", "fc1_voc12").

    Raises:
        NameNotFoundError: a pattern matches nothing; the nearest names are listed.
    """
    patterns = list(patterns)
    if not patterns:
        return list(clouds)
    inside = {cloud.layer: list(accumulate(cloud.layer.split("."), "{}.{}".format)) for cloud in clouds}
    known = dict.fromkeys(module for modules in inside.values() for module in modules)
    chosen = set(match_names(patterns, known, who="--layer"))
    return [cloud for cloud in clouds if chosen.intersection(inside[cloud.layer])]


def in_order_of(clouds: Sequence[PositionCloud], guide: Sequence[PositionCloud]) -> list[PositionCloud]:
    """The clouds in the order in which `guide` has layers of these names, the others behind them; depths count anew."""
    places = {cloud.layer: number for number, cloud in enumerate(guide)}
    ordered = sorted(clouds, key=lambda cloud: places.get(cloud.layer, len(places)))
    return [replace(cloud, depth=depth) for depth, cloud in enumerate(ordered)]
