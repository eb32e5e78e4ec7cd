"""How much longer than wide a slot's cloud is, without the bias of a root: a test of roundness, and intervals that
can reach 1."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

ON_A_LINE = 1e-4
"""A slot whose smaller standard deviation is below this share of the larger one has no area."""
ROUND = 0.05
"""A cloud whose roundness has a p above this may be round, and has no orientation."""
_FAR = 1e4
"""From this square of a length over its variance on lengths are normal, to 0.005 of their standard deviation."""


class Form(NamedTuple):
    """The form of covariances, whatever their size, of K slots.

    Attributes:
        vector: (K, 2), the traceless part (u, v) of log Σ = m·1 + [[u, v], [v, −u]]; its length is the logarithm of the
            elongation, its direction twice the orientation. Unlike the elongation it is not biased: a round cloud's
            lies round 0.
        variance: (K,), of its components, by the jackknife over shapes: the larger of their mean and of the one along
            the vector.
    """

    vector: np.ndarray
    variance: np.ndarray

    @property
    def length(self) -> np.ndarray:
        return np.hypot(self.vector[:, 0], self.vector[:, 1])

    def roundness(self) -> np.ndarray:
        """(K,) p that a round cloud looks at least so long."""
        return np.exp(-self._squares() / 2)

    def elongation(self) -> np.ndarray:
        """(K,), the elongation that would be overestimated as often as underestimated; 1 if none would."""
        return np.exp(self._noncentrality(0.5))

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Low and high (K,) of the elongation. Low is 1 where roundness is not rejected at 1 − level, else above."""
        low, high = (np.exp(self._noncentrality(p)) for p in ((1 + level) / 2, (1 - level) / 2))
        return np.where(self.roundness() > 1 - level, 1.0, np.maximum(low, np.nextafter(1.0, 2.0))), high

    def _squares(self) -> np.ndarray:
        variance = np.where(self.variance > 0, self.variance, 1.0)
        return np.where(self.variance > 0, self.length**2 / variance, np.inf)

    def _noncentrality(self, below: float) -> np.ndarray:
        """(K,), the length at which one would find a share `below` of lengths under this one: the square of a
        length over its variance is noncentral chi² with 2 degrees of freedom."""
        from scipy.special import chdtri, chndtrinc, ndtri

        squares, sd = self._squares(), np.sqrt(self.variance)
        found = np.nan_to_num(chndtrinc(np.clip(squares, 1e-12, _FAR), 2, below))
        found = np.where(squares <= chdtri(2, 1 - below), 0.0, found)
        return np.where(squares > _FAR, self.length - sd * ndtri(below), sd * np.sqrt(found))


def moment_units(points: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """What each shape adds to the moments of its slots, (S, K, 7): m, m², m·(y, x, yy, yx, xx), m being its mass.

    Args:
        points: (S, K, 2), displacements, 0 where not finite. mass: (S, K), 0 there.
    """
    y, x = np.moveaxis(points, -1, 0)
    return np.stack([np.ones_like(y), mass, y, x, y * y, y * x, x * x], axis=-1) * mass[..., None]


def median_elongation(form: Form, noise: np.ndarray, level: float) -> tuple[float, float, float]:
    """The median elongation of a layer's slots: estimate, low and high; low is 1 where roundness of all is not
    rejected at 1 − level.

    A test turned round. If all slots were longer or shorter by a common factor, how long would their median look?
    Asked for the factor with which it looks longer than it does in half of all cases, in the rarest, in the most
    frequent. Differences between slots are drawn together by what their noise explains.

    Args:
        noise: (B, K, 2), vectors of resampled shapes less the slots' own: slots of a shape go together.
    """
    length, slots = form.length, np.log(form.elongation())
    seen, middle = float(np.median(length)), float(np.median(slots))
    between = float(slots.var())
    kept = np.sqrt(max(0.0, 1.0 - float(form.variance.mean()) / between)) if between > 0 else 0.0
    apart = kept * (slots - middle)
    along = form.vector / np.where(length > 0, length, 1.0)[:, None]
    narrow = (noise**2).mean((0, 2))  # resampling makes a little less noise than there is
    noise = noise * np.sqrt(form.variance / np.where(narrow > 0, narrow, 1.0))[:, None]

    @cache  # all three are looked for between the same ends
    def shares_below(at: float) -> float:
        y, x = (np.maximum(at + apart, 0.0)[:, None] * along).T
        lengths = np.hypot(y + noise[..., 0], x + noise[..., 1])
        if len(slots) % 2:  # then the median is one of them
            return float(((lengths <= seen).sum(1) > len(slots) // 2).mean())
        return float((np.median(lengths, axis=1) <= seen).mean())

    def find(share: float) -> float:
        low, high = (
            min(0.0, -float(apart.max())),
            float(length.max()) + 6 * float(np.sqrt(form.variance.max())),
        )
        if shares_below(low) <= share:
            return 0.0
        for _ in range(30):
            at = (low + high) / 2
            low, high = (at, high) if shares_below(at) > share else (low, at)
        return float(np.median(np.maximum(low + apart, 0.0)))

    estimate, low, high = (float(np.exp(find(p))) for p in (0.5, (1 + level) / 2, (1 - level) / 2))
    round_lengths = np.median(np.hypot(noise[..., 0], noise[..., 1]), axis=1)
    if (round_lengths >= seen).mean() > 1 - level:
        low = 1.0
    elif low == 1.0:
        low = float(np.nextafter(1.0, 2.0))
    return estimate, low, max(high, estimate)


def measure_form(units: np.ndarray) -> Form:
    """The form of each slot from what its shapes add to its moments, units (U, K, 7) as of `moment_units`."""
    count, total = len(units), units.sum(0)
    vector = form_vectors(total)
    apart = form_vectors(total - units) - vector  # (U, K, 2)
    apart = apart - apart.mean(0)
    covariance = np.einsum("uki,ukj->kij", apart, apart) * (count - 1) / count
    length = np.hypot(vector[:, 0], vector[:, 1])
    along = vector / np.where(length > 0, length, 1.0)[:, None]
    radial = np.einsum("ki,kij,kj->k", along, covariance, along)
    return Form(vector, np.maximum(radial, np.trace(covariance, axis1=1, axis2=2) / 2))


def form_vectors(sums: np.ndarray) -> np.ndarray:
    """Vectors (..., 2) as of `Form` from sums (..., 7) of moments."""
    covariance = covariance_of(sums)
    return log_covariance(*covariance)[..., 1:]


def covariance_of(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """yy, yx, xx (...,) of the covariance, up to the factor that removes its bias, from sums (..., 7)."""
    total = np.where(sums[..., 0] > 0, sums[..., 0], 1.0)
    y, x, yy, yx, xx = np.moveaxis(sums[..., 2:] / total[..., None], -1, 0)
    return yy - y * y, yx - y * x, xx - x * x


def log_covariance(yy: np.ndarray, yx: np.ndarray, xx: np.ndarray) -> np.ndarray:
    """(..., 3), (m, u, v) of the logarithms m·1 + [[u, v], [v, −u]] of 2×2 covariances; no axis is shorter than
    1e-4 of the other."""
    half, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    major = np.maximum(half + apart, 1e-200)
    minor = np.maximum(half - apart, ON_A_LINE**2 * major)
    ratio = np.log(major / minor) / 2 / np.where(apart > 0, apart, 1.0)
    return np.stack([(np.log(major) + np.log(minor)) / 2, ratio * (yy - xx) / 2, ratio * yx], axis=-1)
