"""The logits in what a stranger's segmentation network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from icnn_core.errors import ShapeError

KEYS = ("out", "logits", "pred", "sem_seg")
"""Names under which networks return their logits, in a mapping or as an attribute; the first that is there counts."""


def to_logits(
    output: object,
    classes: int | None = None,
    *,
    binary: bool = False,
    key: str | None = None,
    batch: int | None = None,
    who: str = "a network's output",
) -> Tensor:
    """The logits (N, C, H, W) in an output: a tensor, the first of a tuple or list, or one under a name.

    Names are `KEYS`, in a mapping (torchvision's "out") or as an attribute (transformers' `.logits`). A single logit
    where two classes are wanted is the foreground's: the background's is its negation, put before it.

    Args:
        classes: C, if it must be that.
        binary: two classes are wanted where there is one logit, and any number where there are more.
        key: the name, if it is none of these.
        batch: N, if it must be that.
        who: asks, for errors.

    Raises:
        ShapeError: they are not there.
    """
    found = _find(output, key)
    if isinstance(found, Tensor) and found.ndim == 4 and batch in (None, len(found)):
        if found.shape[1] == 1 and (binary or classes == 2):
            found = torch.cat([-found, found], 1)
        if classes in (None, found.shape[1]):
            return found
    named = f'under "{key}"' if key else f"in a tuple, or under one of {', '.join(KEYS)}"
    raise ShapeError(
        who,
        needed=f"logits per pixel ({batch or 'N'}, {classes or 'C'}, H, W), one for each class, by themselves, {named}",
        got=_describe(output if found is None else found),
        fix="Name the data set that the network was trained on."
        if isinstance(found, Tensor) and found.ndim == 4
        else "Say under which name they are, or wrap the network so that its forward returns them.",
    )


def _find(output: object, key: str | None) -> object:
    if isinstance(output, Tensor):
        return output
    for name in (key,) if key else KEYS:
        if isinstance(output, Mapping) and name in output:
            return _first(output[name])
        if isinstance(getattr(output, name, None), Tensor):
            return getattr(output, name)
    return _first(output) if isinstance(output, tuple | list) and key is None else None


def _first(value: Any) -> object:
    """Of several tensors (deep supervision, auxiliary heads) the first, as libraries order them."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return value if not isinstance(value, Mapping) else _find(value, None)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with {', '.join(map(str, list(value)[:6])) or 'nothing'}"
    return type(value).__name__
