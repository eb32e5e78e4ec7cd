"""Label images out of MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icnn_core.datasets.images import UnreadableError
from icnn_core.errors import DataError
from icnn_core.files import need_regular_file


def read_mat_mask(path: Path, variable: str, field: str | None = None) -> np.ndarray:
    """The label image `variable`, or `variable.field` where that is a structure: (H, W) of whole numbers.

    Raises:
        UnreadableError: the file cannot be decoded.
        DataError: no such variable or field, or it is no image.
    """
    from scipy.io import loadmat

    need_regular_file(path, f"file {path}", DataError)
    try:
        content = loadmat(path, variable_names=[variable])
    except Exception as error:  # scipy's reader lets anything through that a broken file provokes
        needed, got = "a MATLAB file (version 5 to 7.2)", "one that cannot be decoded"
        raise UnreadableError(f"file {path}", needed=needed, got=got, fix="Replace it.") from error
    value = content.get(variable)
    if field is not None and value is not None and value.size and field in (value.dtype.names or ()):
        value = value.flat[0][field]
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "uif":
        needed = f"the label image {variable}{'.' + field if field else ''}"
        fix = "Give the data set's own files."
        raise DataError(f"mask {path}", needed=needed, got="a file without it", fix=fix)
    return value.astype(np.int64) if value.dtype.kind == "f" else value
