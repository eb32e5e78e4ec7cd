"""The thresholds by which a claim of the paper is said to hold, as docs/statistics.md fixes them."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS, DOES_NOT_HOLD, CANNOT_BE_SAID = "holds", "does not hold", "cannot be said here"


@dataclass(frozen=True)
class ClaimRules:
    """Shares are 0 to 1. What the numbers mean stands in the sentences below, and in docs/statistics.md.

    `permutations` and `seed` set how closely p-values are known, not what is large.
    """

    shapes: int = 100
    moved: float = 0.5
    small_skewness: float = 0.5
    small_kurtosis: float = 2.0
    small_gap: float = 0.1
    two_humps: float = -0.75
    gaussian_holds: float = 0.75
    gaussian_fails: float = 0.5
    close_spacings: float = 0.25
    close_holds: float = 0.9
    far_fails: float = 0.1
    covariance_distance: float = 0.25
    spread_q: float = 0.05
    spread_holds: float = 0.75
    spread_fails: float = 0.25
    trend_layers: int = 5
    trend_kendall: float = 0.3
    trend_rise: float = 0.05
    strip_elongation: float = 1.5
    strip_angle: float = 22.5
    strip_holds: float = 0.75
    strip_fails: float = 0.5
    permutations: int = 1000
    seed: int = 0

    @property
    def judged(self) -> str:
        return f"at least {self.shapes} shapes that moved and {self.moved:.0%} of their points moved"

    @property
    def gaussian(self) -> str:
        return (
            f"roughly Gaussian: skewness <= {self.small_skewness:g}, |excess kurtosis| <= {self.small_kurtosis:g}, "
            f"gap <= {self.small_gap:g}, excess kurtosis along any line >= {self.two_humps:g}. Holds if "
            f"{self.gaussian_holds:.0%} of slots or more are, does not if {self.gaussian_fails:.0%} or fewer are"
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
            f"differ: distance of the covariances >= {self.covariance_distance:g} and permutation q <= "
            f"{self.spread_q:g}. Holds if the slots of {self.spread_holds:.0%} of layers or more do, does not if of "
            f"{self.spread_fails:.0%} or fewer"
        )

    @property
    def trend(self) -> str:
        return (
            "longer, narrower: the major axis, and the minor one turned round, over depth, in grid spacings, "
            f"{self.trend_layers} layers or more. Holds if both have tau >= {self.trend_kendall:g}, a 95% interval "
            f"above 0 and a rise of {self.trend_rise:g} or more; does not if either has tau <= 0, an interval below "
            f"{self.trend_kendall:g}, or one above 0 with a smaller rise"
        )

    @property
    def strip(self) -> str:
        return (
            f"strip, no strip: the 95% interval of the elongation lies above, below {self.strip_elongation:g}; "
            f"outwards: its axis lies within {self.strip_angle:g} degrees of the slot's radius; outer slots of the "
            f"deeper half of the layers. Holds if {self.strip_holds:.0%} or more are strips that point outwards and "
            f"fewer lie along one axis, does not if {self.strip_fails:.0%} or more are no strips, or strips that do not"
        )
