"""The thresholds by which a claim of the paper is said to hold, as docs/statistics.md fixes them."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS, DOES_NOT_HOLD, CANNOT_BE_SAID = "holds", "does not hold", "cannot be said here"


@dataclass(frozen=True)
class ClaimRules:
    """Shares are 0 to 1. What the numbers mean stands in the sentences below, and in docs/statistics.md.

    `resamples`, `permutations` and `seed` set how closely intervals and p-values are known, not what is
    large.
    """

    shapes: int = 100
    moved: float = 0.5
    small_skewness: float = 0.5
    small_kurtosis: float = 2.0
    small_gap: float = 0.1
    gaussian_holds: float = 0.75
    gaussian_fails: float = 0.5
    close_spacings: float = 0.25
    close_holds: float = 0.9
    far_fails: float = 0.1
    spread_ratio: float = 1.25
    spread_q: float = 0.05
    spread_holds: float = 0.75
    spread_fails: float = 0.25
    trend_layers: int = 5
    trend_kendall: float = 0.3
    trend_rise: float = 0.25
    strip_elongation: float = 1.5
    strip_holds: float = 0.75
    strip_fails: float = 0.5
    resamples: int = 1000
    permutations: int = 1000
    seed: int = 0

    @property
    def judged(self) -> str:
        return f"at least {self.shapes} shapes and {self.moved:.0%} of the points moved"

    @property
    def gaussian(self) -> str:
        return (
            f"roughly Gaussian: skewness <= {self.small_skewness:g}, |excess kurtosis| <= {self.small_kurtosis:g}, "
            f"gap <= {self.small_gap:g}. Holds if {self.gaussian_holds:.0%} of slots or more are, does not if "
            f"{self.gaussian_fails:.0%} or fewer are"
        )

    @property
    def close(self) -> str:
        return (
            f"close, far: the centre's 95% ellipse lies within, beyond {self.close_spacings:g} grid spacings of the "
            f"slot. Holds if {self.close_holds:.0%} of slots or more are close, does not if more than "
            f"{self.far_fails:.0%} are far"
        )

    @property
    def spread(self) -> str:
        return (
            f"differ: widest over narrowest spread >= {self.spread_ratio:g} and permutation q <= {self.spread_q:g}. "
            f"Holds if the slots of {self.spread_holds:.0%} of layers or more do, does not if of "
            f"{self.spread_fails:.0%} or fewer"
        )

    @property
    def trend(self) -> str:
        return (
            f"elongation over depth, {self.trend_layers} layers or more. Holds if tau >= {self.trend_kendall:g}, its "
            f"95% interval lies above 0 and the rise is {self.trend_rise:g} or more; does not if tau <= 0, the "
            f"interval lies below {self.trend_kendall:g}, or above 0 with a smaller rise"
        )

    @property
    def strip(self) -> str:
        return (
            f"strip, no strip: the 95% interval of the elongation lies above, below {self.strip_elongation:g}; outer "
            f"slots of the deeper half of the layers. Holds if {self.strip_holds:.0%} or more are strips, does not "
            f"if {self.strip_fails:.0%} or more are none"
        )
