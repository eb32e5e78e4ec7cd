"""Model + image + pixel -> PixelGradient: with `icnn_viz.positions` the only door to torch here."""

from icnn_core.preparation import IMAGENET_MEAN as IMAGENET_MEAN
from icnn_core.preparation import IMAGENET_STD as IMAGENET_STD
from icnn_viz.gradients.controls import randomised as randomised
from icnn_viz.gradients.controls import snapped as snapped
from icnn_viz.gradients.methods import METHODS as METHODS
from icnn_viz.gradients.networks import Network as Network
from icnn_viz.gradients.networks import load_pair as load_pair
from icnn_viz.gradients.pixel import batch_gradients as batch_gradients
from icnn_viz.gradients.pixel import pixel_gradient as pixel_gradient
from icnn_viz.gradients.pixel import pixel_gradients as pixel_gradients
from icnn_viz.gradients.sampling import receptive_field as receptive_field
from icnn_viz.gradients.sampling import sampling_density as sampling_density
from icnn_viz.gradients.targets import Target as Target
