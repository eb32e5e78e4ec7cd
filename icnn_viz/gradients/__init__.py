"""Model + image + pixel -> PixelGradient: with `icnn_viz.positions` the only door to torch here."""

from icnn_core.preparation import IMAGENET_MEAN, IMAGENET_STD
from icnn_viz.gradients.controls import randomised, snapped
from icnn_viz.gradients.methods import METHODS
from icnn_viz.gradients.networks import Network, load_pair, to_networks
from icnn_viz.gradients.pixel import batch_gradients, pixel_gradient, pixel_gradients
from icnn_viz.gradients.sampling import receptive_field, sampling_density
from icnn_viz.gradients.targets import Target

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "METHODS",
    "Network",
    "Target",
    "batch_gradients",
    "load_pair",
    "pixel_gradient",
    "pixel_gradients",
    "randomised",
    "receptive_field",
    "sampling_density",
    "snapped",
    "to_networks",
]
