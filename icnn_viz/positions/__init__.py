"""Door 1: checkpoints, modules, arrays and other people's layers -> one PositionCloud a layer, in network order."""

from icnn_viz.positions.arrays import read_arrays as read_arrays
from icnn_viz.positions.arrays import to_cloud as to_cloud
from icnn_viz.positions.checkpoints import read_clouds as read_clouds
from icnn_viz.positions.checkpoints import read_ordered as read_ordered
from icnn_viz.positions.dcls import read_dcls as read_dcls
from icnn_viz.positions.modules import clouds_from_deformable as clouds_from_deformable
from icnn_viz.positions.modules import clouds_from_model as clouds_from_model
from icnn_viz.positions.selection import in_order_of as in_order_of
from icnn_viz.positions.selection import select_layers as select_layers
from icnn_viz.positions.snapshots import read_snapshots as read_snapshots
