"""What things cost on a GPU, in multiply-adds of its matrix units: the table that the choice of a back end goes by."""

from __future__ import annotations

from typing import NamedTuple

import torch

SOURCE = "derived"
"""From compiled code and data sheets (`benchmarks/derive_costs.py`, an H100); nobody has measured them."""


class CudaCosts(NamedTuple):
    """Multiply-adds that take as long.

    Attributes:
        per_sample: a sample blended and written into a column, and its share of copying x.
        per_weight_built: a weight of a dense kernel, written and read.
        per_element_moved: a number written to memory and read again.
        small_product: times as many as a large product's, for matrices of an image's side.
    """

    per_sample: float
    per_weight_built: float
    per_element_moved: float
    small_product: float


_TABLE = {
    torch.bfloat16: CudaCosts(580, 390, 390, 8),
    torch.float16: CudaCosts(580, 390, 390, 8),
    torch.float32: CudaCosts(320, 390, 390, 8),
    torch.float64: CudaCosts(40, 160, 160, 2),
}


def cuda_costs(dtype: torch.dtype) -> CudaCosts:
    """Those of a dtype; float32 in TF32. Of an unknown one, bfloat16's."""
    return _TABLE.get(dtype, _TABLE[torch.bfloat16])
