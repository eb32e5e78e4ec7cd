"""One operation, as the rules for its shadows see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from icnn_core.errors import UnsupportedError


@dataclass
class Call:
    """One operation on something that depends on the image.

    Attributes:
        who: the caller, for errors.
        func, name: the operation; its name without namespace, overload and the underscore of "in place".
        given: its arguments by name, defaults included.
        out: what it returned.
        shadows: of those arguments that depend on the image; what is not among them is constant.
        weighted: whether magnitudes count, or only that they are not zero.
        known: of tensors that some rules meet again: the windows of a max pool's indices, a softmax's weights.
    """

    who: str
    func: Any
    name: str
    given: dict[str, Any]
    out: Any
    shadows: Mapping[Tensor, Tensor | str]
    weighted: bool
    known: WeakTensorKeyDictionary
    used: set[int] = field(default_factory=set)

    def shadow(self, value: Any) -> Tensor | None:
        """The shadow of an argument, None if it is constant. A rule accounts for what it asks for."""
        found = self.shadows.get(value) if isinstance(value, Tensor) else None
        if isinstance(found, str):
            raise self.refuse(f"{self.func} of {found}")
        self.used.add(id(value))
        return found

    def get(self, name: str) -> Tensor | None:
        """The shadow of the argument of this name."""
        return self.shadow(self.given.get(name))

    def __getitem__(self, name: str) -> Tensor:
        """The same where it must depend on the image."""
        found = self.get(name)
        if found is None:
            raise self.refuse(f"{self.func} where another argument than usual depends on the image")
        return found

    def magnitude(self, constant: Any, like: Tensor) -> Tensor:
        """|constant|, or where it is not zero: by what a shadow is multiplied."""
        value = torch.as_tensor(constant, device=like.device).detach()
        return (value.abs() if self.weighted else value != 0).to(like.dtype)

    @property
    def results(self) -> list[Tensor]:
        return [t for t in tree_leaves(self.out) if isinstance(t, Tensor)]

    @property
    def size(self) -> torch.Size:
        """Of the (first) result."""
        return self.results[0].shape

    def graded(self, shadow: Tensor, result: Tensor) -> Tensor:
        """A result that is no real number is constant piece by piece: it depends, with slope 0."""
        smooth = result.is_floating_point() or result.is_complex() or not self.weighted
        return shadow if smooth else shadow * 0

    def refuse(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            self.who, needed="operations whose structure is known", got=what, fix="Use the gradient instead."
        )
