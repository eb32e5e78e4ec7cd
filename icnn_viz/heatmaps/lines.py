"""Dark lines that a heatmap has every few pixels."""

from __future__ import annotations

import numpy as np

from icnn_viz.records import Heatmap

_LONGEST, _FEWEST = 64, 4  # of a step, in pixels; of lines
_DARK, _LIGHTEST = 0.45, 0.75  # of the lines' energy over their surroundings': on average, and of each
_FAINT = 0.02  # of the most energetic row; fainter ones are not looked at


def dark_lines(heatmap: Heatmap) -> int:
    """The step in pixels between rows or columns that have less than half the energy of those around them; 0 if none.

    Networks with strides have them: where the kernels of a strided layer do not overlap, fewer ways lead from the
    output to a pixel (after Odena et al., Deconvolution and checkerboard artifacts, 2016).
    """
    steps = [_step(heatmap.values.sum(axis)) for axis in (0, 1)]
    return max(steps)


def _step(profile: np.ndarray) -> int:
    from scipy.ndimage import median_filter

    for step in range(3, min(_LONGEST, len(profile) // _FEWEST) + 1):
        around = median_filter(profile, 2 * step + 1, mode="nearest")
        seen = around > _FAINT * around.max()
        ratio = np.where(seen, profile / np.where(seen, around, 1), np.nan)
        for phase in range(step):
            of_lines = ratio[phase::step]
            of_lines = of_lines[np.isfinite(of_lines)]
            if len(of_lines) >= _FEWEST and of_lines.mean() < _DARK and of_lines.max() < _LIGHTEST:
                return step
    return 0
