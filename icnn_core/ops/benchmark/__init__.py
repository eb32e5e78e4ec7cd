"""The operator timed beside a convolution and its peers."""

from icnn_core.ops.benchmark.layers import LAYERS as LAYERS
from icnn_core.ops.benchmark.layers import SPREADS as SPREADS
from icnn_core.ops.benchmark.layers import Case as Case
from icnn_core.ops.benchmark.layers import Layer as Layer
from icnn_core.ops.benchmark.layers import find_layer as find_layer
from icnn_core.ops.benchmark.methods import Method as Method
from icnn_core.ops.benchmark.methods import make_methods as make_methods
from icnn_core.ops.benchmark.timing import Timing as Timing
from icnn_core.ops.benchmark.timing import describe_machine as describe_machine
from icnn_core.ops.benchmark.timing import run_once as run_once
from icnn_core.ops.benchmark.timing import time_case as time_case
