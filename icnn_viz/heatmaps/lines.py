"""Dark lines that a heatmap has every few pixels."""

from __future__ import annotations

import numpy as np

from icnn_viz.records import Heatmap

_LONGEST, _FEWEST = 64, 4  # of a step, in pixels of the image and of what the network sees; of lines
_DARK, _LIGHTEST = 0.45, 0.75  # of the lines' energy over their surroundings': on average, and of each
_ROUGH = 0.3  # of the other rows, that are no lighter than the lightest line may be
_FAINT = 0.02  # of the most energetic row; fainter ones are not looked at


def dark_lines(heatmap: Heatmap) -> float:
    """The step in pixels between rows or columns that have less than half the energy of those around them; 0 if none.

    Networks with strides have them: where the kernels of a strided layer do not overlap, fewer ways lead from the
    output to a pixel (after Odena et al., Deconvolution and checkerboard artifacts, 2016). Steps are whole in pixels of
    what the network sees, and fractions of a resized image's (see `Heatmap.scale`).
    """
    return max(_step(heatmap.values.sum(1 - axis), heatmap.scale[axis]) for axis in (0, 1))


def _step(profile: np.ndarray, scale: float) -> float:
    """Of a sum over rows or columns, each 1 / `scale` of one that the network sees."""
    from scipy.ndimage import median_filter

    shortest, longest = (limit / scale for limit in (3, min(_LONGEST, len(profile) // _FEWEST)))
    longest = min(longest, _LONGEST)  # of an enlarged image: no network has a larger stride
    places = (np.arange(round(len(profile) / scale)) + 0.5) * scale - 0.5  # of the rows that the network sees
    rows = [end(places).astype(int).clip(0, len(profile) - 1) for end in (np.floor, np.ceil)]
    for step in range(int(np.ceil(shortest)), int(longest) + 1):
        around = median_filter(profile, 2 * round(step * scale) + 1, mode="nearest")
        seen = around > _FAINT * around.max()
        ratio = np.where(seen, profile / np.where(seen, around, 1), np.nan)
        ratio = np.fmin(*ratio[rows])
        for phase in range(step):
            if _is_lined(ratio[phase::step]) and not _is_rough(np.delete(ratio, np.s_[phase::step])):
                return step * scale
    return 0.0


def _is_lined(ratio: np.ndarray) -> bool:
    known = ratio[np.isfinite(ratio)]
    return len(known) >= _FEWEST and known.mean() < _DARK and known.max() < _LIGHTEST


def _is_rough(ratio: np.ndarray) -> bool:
    """Whether rows between the lines are dark as well, as in maps of few pixels, where some rows of any step are."""
    return bool(np.mean(ratio[np.isfinite(ratio)] < _LIGHTEST) > _ROUGH)
