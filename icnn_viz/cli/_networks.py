"""The networks that commands compare."""

from icnn_viz.gradients.networks import RANDOMISED, SNAPPED, Network, load_pair

__all__ = ["RANDOMISED", "SNAPPED", "Network", "load_pair"]
