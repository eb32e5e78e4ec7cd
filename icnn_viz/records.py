"""What flows through the toolkit: plain, frozen records of numpy arrays. No torch, no pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icnn_core.facts import Facts

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class PositionCloud(Facts):
    """The learnt positions of one irregular layer. All coordinates are (y, x) in input pixels from the kernel's centre.

    Attributes:
        layer: dotted module name, e.g. "backbone.layer3.11.conv2".
        depth: 0 for the first irregular layer of the network, 1 for the next, …
        kernel_size: (kH, kW); K = kH·kW.
        dilation: (y, x).
        sharing: "layer", "channel" or "none".
        slots: (K, 2), the regular positions, taps row-major.
        positions: (kernels, channels, K, 2). `kernels` is 1 unless sharing is "none"; `channels` is 1 if sharing is
            "layer"; with groups and sharing "none", channels are those of a kernel's own group.
        weights: (kernels, channels, K). The signed weight where sharing is "none"; else the L2 norm of the weights that
            share the position (over the kernels, and over channels too where sharing is "layer").
        regular: whether the slots are regular positions. DCLS has none: there a slot is the mean of its points, and
            what compares points with regular positions does not apply.
    """

    layer: str
    depth: int
    kernel_size: tuple[int, int]
    dilation: tuple[int, int]
    sharing: str
    slots: np.ndarray
    positions: np.ndarray
    weights: np.ndarray
    regular: bool = True

    @property
    def points(self) -> np.ndarray:
        """(kernels·channels, K, 2): one row of K points for every shape in the layer."""
        return self.positions.reshape(-1, *self.positions.shape[-2:])

    @property
    def displacements(self) -> np.ndarray:
        """(kernels·channels, K, 2): points minus their slots."""
        return self.points - self.slots

    @property
    def point_weights(self) -> np.ndarray:
        """(kernels·channels, K): the weights that go with `points`, as magnitudes."""
        return np.abs(self.weights).reshape(-1, self.weights.shape[-1])

    @property
    def spacing(self) -> np.ndarray:
        """(2,), grid spacing (y, x) in px: the step between the slots' rows and columns, as the slots lie.

        An axis with one row takes the other's step; slots that are no grid the median distance to the nearest slot on
        both axes; a single slot the dilation.
        """
        if len(self.slots) < 2:
            return np.array(self.dilation, dtype=float)
        places = [np.unique(self.slots[:, axis].round(4)) for axis in (0, 1)]
        if len(places[0]) * len(places[1]) == len(self.slots):
            steps = [float(np.median(np.diff(place))) if len(place) > 1 else 0.0 for place in places]
            return np.array([step or max(steps) for step in steps])
        some = self.slots[:: -(-len(self.slots) // 1000)]
        gaps = np.linalg.norm(some[:, None] - self.slots, axis=-1)
        # The nearest is the slot itself:
        return np.full(2, float(np.median(np.partition(gaps, 1, axis=1)[:, 1])))

    def to_frame(self) -> pd.DataFrame:
        """One row a point: layer, kernel ("all" where shared), channel, slot, slot_y, slot_x, y, x, weight_norm (the
        magnitude), weight (as in `weights`), kernel_size and dilation ("3x2"), regular."""
        import pandas as pd

        kernels, channels, taps, _ = self.positions.shape
        kernel, channel, slot = (a.ravel() for a in np.indices((kernels, channels, taps)))
        flat = self.positions.reshape(-1, 2)
        return pd.DataFrame(
            {
                "layer": self.layer,
                "kernel": kernel if self.sharing == "none" else "all",
                "channel": channel if self.sharing != "layer" else "all",
                "slot": slot,
                "slot_y": self.slots[slot, 0],
                "slot_x": self.slots[slot, 1],
                "y": flat[:, 0],
                "x": flat[:, 1],
                "weight_norm": np.abs(self.weights).ravel(),
                "weight": self.weights.ravel(),
                "kernel_size": "{}x{}".format(*self.kernel_size),
                "dilation": "{}x{}".format(*self.dilation),
                "regular": self.regular,
            }
        )

    def _facts(self) -> dict[str, str]:
        lengths = np.linalg.norm(self.displacements, axis=-1)
        finite = lengths[np.isfinite(lengths)]
        facts = {
            "layer": self.layer,
            "kernel": "{}×{}, dilation {}×{}".format(*self.kernel_size, *self.dilation),
            "shapes": f"{len(self.points):,} (one per {SHARING[self.sharing].per})",
            "moved": f"{finite.mean():.3f} px on average, {finite.max():.3f} px at most"
            if finite.size
            else "–",
        }
        lost = lengths.size - finite.size
        return facts | ({"not finite": f"{lost:,} of {lengths.size:,} positions"} if lost else {})


@dataclass(frozen=True, repr=False)
class GaussianFit(Facts):
    """One Gaussian per slot of a layer, fitted to the slot's points over all shapes of the layer.

    Attributes:
        layer: the cloud's layer.
        count: (K,), finite points used.
        mean: (K, 2), (y, x).
        covariance: (K, 2, 2), axes in the order (y, x).
        state: (K,) of str: "ok", or why there is no Gaussian: "undeformed" (no spread, at the slot),
            "equal points" (no spread, away from the slot), "on a line", "too few points", "not finite". Where it is
            not "ok" the covariance is zero, never NaN.
        roundness: (K,), p of a test that the cloud is round, whatever its law; None if it was not tested.
    """

    layer: str
    count: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    state: np.ndarray
    roundness: np.ndarray | None = None

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations (K, 2) by principal axis, largest first; unit directions (K, 2, 2), rows (y, x)."""
        values, vectors = np.linalg.eigh(self.covariance)
        return np.sqrt(np.clip(values[:, ::-1], 0, None)), vectors[:, :, ::-1].transpose(0, 2, 1)

    def _facts(self) -> dict[str, str]:
        ok = self.state == "ok"
        others = [f"{int((self.state == state).sum())} {state}" for state in np.unique(self.state[~ok])]
        facts = {"layer": self.layer, "slots": "; ".join([f"{int(ok.sum())} of {len(ok)} fitted", *others])}
        if ok.any():
            long, short = self.axes()[0][ok].mean(0)
            facts["standard deviation"] = f"{long:.3f} × {short:.3f} px (mean of long and short axes)"
        return facts


@dataclass(frozen=True, repr=False)
class PixelGradient(Facts):
    """What one output pixel's logit depends on: its gradient with respect to the input image.

    Attributes:
        network: its name as shown to the reader, e.g. "irregular", "regular" or "irregular, snapped to slots".
        image: (H, W, 3) uint8, the image as given.
        pixel: (y, x), 0-based, in pixels of `image`.
        gradient: (3, H, W) float32, d logit / d (input as the network sees it, normalised), on the pixels of `image`.
        class_id: the class whose logit was differentiated.
        classes: names by class id.
        prediction: (H, W) integer, the network's predicted class per pixel.
        logit: the logit that was differentiated.
        method: "gradient", "deconvnet", …
        target: what was differentiated, where it is not the predicted class's logit at `pixel` alone.
        against: the class whose logit was subtracted from it, or None.
        notes: what a reader must be told, e.g. that the logits had to be upsampled.
        scale: pixels of `image` to one that the network sees, (y, x).
    """

    network: str
    image: np.ndarray
    pixel: tuple[int, int]
    gradient: np.ndarray
    class_id: int
    classes: tuple[str, ...]
    prediction: np.ndarray
    logit: float
    method: str = "gradient"
    target: str = ""
    notes: tuple[str, ...] = field(default=())
    against: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def class_name(self) -> str:
        """Of the class whose logit was differentiated."""
        return name_class(self.class_id, self.classes)

    @property
    def against_name(self) -> str:
        """Of the class whose logit was subtracted, or ""."""
        return "" if self.against is None else name_class(self.against, self.classes)

    @property
    def followed(self) -> str:
        """Whose logit was differentiated, in words: “car”, or “car” minus “road” for a difference of two."""
        return f"“{self.class_name}”" + f" minus “{self.against_name}”" * bool(self.against_name)

    @property
    def predicted_name(self) -> str:
        """Of the class that the network predicts at the pixel."""
        return name_class(int(self.prediction[self.pixel]), self.classes)

    def _facts(self) -> dict[str, str]:
        facts = {
            "network": self.network,
            "logit": f"{self.logit:.4g} of {self.followed} at {_place(self.pixel)}",
            "method": self.method,
            "gradient": "3×{}×{}, largest value {:.3g}".format(
                *self.gradient.shape[1:], np.abs(self.gradient).max()
            ),
        }
        facts |= {"target": self.target} if self.target else {}
        return facts | ({"notes": "; ".join(self.notes)} if self.notes else {})


@dataclass(frozen=True, repr=False)
class Heatmap(Facts):
    """A non-negative map of influence over the image, reduced from a PixelGradient's colour channels.

    Attributes:
        values: (H, W), not normalised: two maps of the same target may be compared.
        signed: (H, W), the same with signs, for what speaks for and against the target; None = there are none.
        pixel: (y, x) of the output pixel it belongs to.
        network: the gradient's.
        reduction: "max" (largest absolute value over colour), "l2", "sum" or "signed".
        smoothing: standard deviation in pixels of a Gaussian blur applied afterwards; 0 = none.
        scale: the gradient's.
    """

    values: np.ndarray
    pixel: tuple[int, int]
    network: str
    reduction: str = "max"
    smoothing: float = 0.0
    notes: tuple[str, ...] = field(default=())
    signed: np.ndarray | None = None
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def shown(self) -> np.ndarray:
        """(H, W): what a picture shows, signed if signs are known."""
        return self.values if self.signed is None else self.signed

    @property
    def shares(self) -> np.ndarray:
        """(H, W): what is shown over the energy, so that magnitudes add up to 1; zeros of a map without energy."""
        return self.shown / (self.values.sum() or 1.0)

    def _facts(self) -> dict[str, str]:
        facts = {
            "network": self.network,
            "pixel": _place(self.pixel),
            "map": "{}×{}, sum {:.3g}, largest value {:.3g}".format(
                *self.values.shape, self.values.sum(), self.values.max()
            ),
            "reduction": self.reduction,
        }
        return facts | ({"notes": "; ".join(self.notes)} if self.notes else {})


@dataclass(frozen=True, eq=False, repr=False)
class PixelComparison(Facts):
    """One pixel of an image through several networks: the same logit of each, reduced alike.

    Attributes:
        gradients, heatmaps, measures: one per network, in their order.
        source: where the image came from, in words, or "".
        true_class: the pixel's true class, or "" if unknown.
        labels: (H, W) true class ids of the image, or None.
        densities: where each network samples, (H, W), if that was traced.
        seconds: spent in the networks, waiting for them included; 0 if nothing had to be computed.
    """

    gradients: list[PixelGradient]
    heatmaps: list[Heatmap]
    measures: list[dict[str, float]]
    source: str = ""
    true_class: str = ""
    densities: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0
    labels: np.ndarray | None = None

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.gradients[0].image

    @property
    def pixel(self) -> tuple[int, int]:
        """(y, x)."""
        return self.gradients[0].pixel

    @property
    def networks(self) -> list[str]:
        """The networks' names."""
        return [gradient.network for gradient in self.gradients]

    def _facts(self) -> dict[str, str]:
        first = self.gradients[0]
        facts = {"logit of": f"{first.followed} at {_place(self.pixel)}", "method": first.method}
        facts |= {"image": self.source} if self.source else {}
        facts |= {"true class": self.true_class} if self.true_class else {}
        return facts | {
            g.network: f"logit {g.logit:.4g}, predicted {g.predicted_name}" for g in self.gradients
        }


@dataclass(frozen=True, eq=False, repr=False)
class PixelTaps(Facts):
    """Where the taps of a layer, or of several one after another, land in an image for one of its pixels.

    Attributes:
        network: its name as shown to the reader.
        image: (H, W, 3) uint8.
        pixel: (y, x), 0-based.
        layers: their names, the one nearest to the output first.
        kind: of the first: "regular", "irregular", "deformable" or "dcls".
        slots: (K, 2), its regular places from the kernel's centre, in elements of its input.
        at, regular: (n, 2), (y, x) in pixels of the image: where a tap lands, and where it would on its slots.
        slot, channel: (n,), tap and input channel of the first layer; -1: several channels.
        weight: (n,), signed where a point is one weight, else magnitudes.
        held: the share of the weight of all points that these hold.
        beyond: the share of their weight that falls into borders of zeros.
        class_id: whose weights count, None: all outputs' of the first layer, as they are no class's.
        classes: names by class id.
        notes: what a reader must be told.
    """

    network: str
    image: np.ndarray
    pixel: tuple[int, int]
    layers: tuple[str, ...]
    kind: str
    slots: np.ndarray
    at: np.ndarray
    regular: np.ndarray
    slot: np.ndarray
    channel: np.ndarray
    weight: np.ndarray
    held: float
    beyond: float
    class_id: int | None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def class_name(self) -> str:
        """Whose weights count, or ""."""
        return "" if self.class_id is None else name_class(self.class_id, self.classes)

    def snapped(self) -> PixelTaps:
        """Every point on its regular place, and those of one place as one, of the slot that gives it most weight."""
        _, place = np.unique(self.regular.round(4), axis=0, return_inverse=True)
        table = np.zeros((int(place.max(initial=-1)) + 1, len(self.slots)))
        np.add.at(table, (place.ravel(), self.slot), np.abs(self.weight))
        places = np.zeros((len(table), 2))
        places[place.ravel()] = self.regular
        slot, several = table.argmax(1), np.full(len(table), -1)
        return replace(
            self, at=places, regular=places, slot=slot, channel=several, weight=table.sum(1), kind="regular"
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """One row a point: network, layers (from the output on), x, y, regular_x and regular_y (pixels of the image),
        slot, channel ("all" for several), weight."""
        import pandas as pd

        return pd.DataFrame(
            {
                "network": self.network,
                "layers": " < ".join(self.layers),
                "x": self.at[:, 1],
                "y": self.at[:, 0],
                "regular_x": self.regular[:, 1],
                "regular_y": self.regular[:, 0],
                "slot": self.slot,
                "channel": [c if c >= 0 else "all" for c in self.channel.tolist()],
                "weight": self.weight,
            }
        )

    def _facts(self) -> dict[str, str]:
        return {
            "network": self.network,
            "layers": " < ".join(self.layers),
            "pixel": _place(self.pixel),
            "taps": f"{len(self.at):,}, {self.held:.0%} of the weight",
        }


def name_class(class_id: int, classes: Sequence[str], otherwise: str = "") -> str:
    """A class's name; where there is none, `otherwise` or else its number."""
    known = 0 <= class_id < len(classes)
    return classes[class_id] if known else (otherwise if classes and otherwise else str(class_id))


class Sharing(NamedTuple):
    """What there is one shape per, in words; those with braces are formats.

    Attributes:
        per: what.
        axis: along which shapes are counted.
        total: how many there are, of `kernels` and `channels` as counted.
        one: a shape, by `kernel` and `channel`.
        hover: the same as a plotly page fills it in.
    """

    per: str
    axis: str
    total: str
    one: str
    hover: str


SHARING = {
    "layer": Sharing("layer", "shape", "one shape", "the layer's shape", "shape"),
    "channel": Sharing(
        "input channel", "input channel", "{channels}", "input channel {channel}", "channel %{customdata[1]}"
    ),
    "none": Sharing(
        "kernel and channel",
        "kernel × channel",
        "{kernels} × {channels}",
        "kernel {kernel}, input channel {channel}",
        "kernel %{customdata[0]}, channel %{customdata[1]}",
    ),
}
"""The words on a cloud's `sharing`, wherever it is told."""


def shape_per(sharing: str) -> str:
    """What there is one shape per; a word that no cloud has, as it is."""
    return SHARING[sharing].per if sharing in SHARING else sharing


def _place(pixel: tuple[int, int]) -> str:
    return f"x = {pixel[1]}, y = {pixel[0]}"
