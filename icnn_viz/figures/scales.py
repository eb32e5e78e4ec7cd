"""At what scale displacements are seen: in the kernel's own plane, or each slot's on axes of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from icnn_core.errors import ArgumentError, check_name
from icnn_viz.records import GaussianFit, PositionCloud
from icnn_viz.statistics.gaussian import NO_SPREAD

SCALES = ("auto", "true", "facets")
"""Facets where clouds are too small to be seen on the grid; one plane for all slots; facets always."""
SHARE = 0.865
"""Of a round Gaussian's points within two standard deviations."""
TIGHT = 0.2
"""Grid spacings within which so many points lie where clouds are too small to be seen: a spread of a tenth."""
MOST_FACETS = 49
ROUND_FACTORS = tuple(step * 10.0**power for power in range(5) for step in (1, 2, 3, 5))
_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def takes_facets(scale: str, cloud: PositionCloud) -> bool:
    """Whether a figure of this cloud shows each slot on axes of its own.

    Raises:
        NameNotFoundError: another scale. ArgumentError: facets of slots that are no regular places, or too many.
    """
    check_name("scale", "a scale", scale, SCALES)
    reason = why_no_facets(cloud)
    if scale == "facets" and reason:
        needed, got = f"at most {MOST_FACETS} regular places", reason
        raise ArgumentError(f"facets of {cloud.layer}", needed=needed, got=got, fix='Take the scale "true".')
    return scale == "facets" or (scale == "auto" and not reason and is_tight(cloud))


def why_no_facets(cloud: PositionCloud) -> str:
    """Why slots cannot have axes of their own, in words; empty if they can."""
    if not cloud.regular:
        return "slots that are no regular places"
    return f"{len(cloud.slots)} slots" if len(cloud.slots) > MOST_FACETS else ""


def is_tight(cloud: PositionCloud, fewest: int = 2) -> bool:
    """Whether points moved, of at least so many shapes, but so little that the grid hides how."""
    moves = _finite(cloud.displacements)
    if len(cloud.points) < fewest or not moves.size or np.hypot(*moves.T).max() <= NO_SPREAD:
        return False
    return float(np.quantile(np.hypot(*(moves / cloud.spacing).T), SHARE)) < TIGHT


def facet_reach(clouds: Iterable[PositionCloud]) -> float:
    """A round number of pixels: half the side of all facets. They hold 98 % of the displacements, unless those reach
    far beyond most: then what is three times as long as half of them, or somewhat longer than 86 % of them."""
    reach = 0.0
    for cloud in clouds:
        lengths = np.abs(_finite(cloud.displacements)).max(-1, initial=0.0)
        if lengths.size:
            half, most, nearly_all = np.quantile(lengths, (0.5, SHARE, 0.98))
            reach = max(reach, float(min(nearly_all, max(3 * half, 1.3 * most))) or float(nearly_all))
    return _round_up(1.05 * reach) if reach > 0 else NO_SPREAD


def facet_factor(cloud: PositionCloud, reach: float | None = None) -> float:
    """How many times longer displacements may be drawn in the plane so that a slot's keep off the others': a round
    number, at least 1."""
    reach = facet_reach([cloud]) if reach is None else reach
    wanted = 0.42 * float(cloud.spacing.min()) / reach
    return max([1.0, *(factor for factor in ROUND_FACTORS if factor <= wanted * 1.0001)])


def spread_out(cloud: PositionCloud, factor: float) -> PositionCloud:
    """The cloud with every displacement from its slot `factor` times as long."""
    return replace(cloud, positions=cloud.slots + factor * (cloud.positions - cloud.slots))


def stretch(fit: GaussianFit, slots: np.ndarray, factor: float, *, about: bool = False) -> GaussianFit:
    """The fit with displacements from the slots `factor` times as long; `about` the slots: as if all lay at 0."""
    mean = factor * (fit.mean - slots) + (0.0 if about else slots)
    return replace(fit, mean=mean, covariance=factor**2 * fit.covariance)


def describe_reach(cloud: PositionCloud) -> str:
    """How near most weights lie to their slots, in a sentence; empty for slots that are no regular places."""
    moves = _finite(cloud.displacements)
    if not cloud.regular or not len(moves):
        return ""
    lengths = np.hypot(*moves.T)
    if lengths.max() <= NO_SPREAD:
        return f"no weight lies farther than {NO_SPREAD:g} px from its slot"
    radius = _two_digits_up(float(np.quantile(lengths, SHARE)))
    share = f"{(lengths <= radius * (1 + 1e-9)).mean():.0%}".replace("%", " %")
    apart = radius / float(cloud.spacing.mean())
    return (
        f"{share} of the weights lie within {radius:g} px of their slots ({_two_digits(apart)} grid spacings)"
    )


def _finite(moves: np.ndarray) -> np.ndarray:
    """(n, 2): those displacements (S, K, 2) that are finite."""
    return moves[np.isfinite(moves).all(-1)]


def _round_up(value: float) -> float:
    power = 10.0 ** np.floor(np.log10(value))
    return float(f"{next(step for step in _STEPS if step * power >= value * 0.9999) * power:.3g}")


def _two_digits_up(value: float) -> float:
    power = 10.0 ** (np.floor(np.log10(max(value, 1e-4))) - 1)
    return float(f"{np.ceil(value / power - 1e-9) * power:.3g}")


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
