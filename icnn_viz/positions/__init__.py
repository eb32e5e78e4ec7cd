"""Door 1: checkpoints, modules, arrays and other people's layers -> one PositionCloud a layer, in network order."""

from icnn_viz.positions.arrays import read_arrays, to_cloud
from icnn_viz.positions.checkpoints import read_clouds, read_ordered
from icnn_viz.positions.dcls import read_dcls
from icnn_viz.positions.modules import clouds_from_deformable, clouds_from_model
from icnn_viz.positions.selection import in_order_of, select_layers
from icnn_viz.positions.snapshots import read_snapshots

__all__ = [
    "clouds_from_deformable",
    "clouds_from_model",
    "in_order_of",
    "read_arrays",
    "read_clouds",
    "read_dcls",
    "read_ordered",
    "read_snapshots",
    "select_layers",
    "to_cloud",
]
