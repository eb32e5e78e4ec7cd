"""What depends on what in a network's arithmetic, followed operation by operation, whatever the modules are called.

While `Structure` is active every operation that PyTorch dispatches is computed as usual. Beside each tensor that
depends on the image stands its *shadow*: the same place in a second network that is linear and has no negative weight,
so that no way cancels another. The gradient of a shadow adds up all ways from the image to it, each with the product of
its magnitudes; where only their existence is asked for, every magnitude is 1 or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from icnn_viz.gradients.structure.call import Call
from icnn_viz.gradients.structure.table import CONSTANTS, find_rule


class Structure(TorchDispatchMode):
    """Follows the shadows while a network runs.

    Args:
        who: the caller, for errors.
        weighted: whether magnitudes count.
        instead: values that stand for some constants: of learnt weights, where any weights are meant.

    Raises:
        UnsupportedError: (inside) an operation whose structure is not known; it is named.
    """

    def __init__(self, who: str, *, weighted: bool, instead: Mapping[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.who, self.weighted = who, weighted
        self._shadows = WeakTensorKeyDictionary()  # also holds what stands for constants: without a gradient
        self._known = WeakTensorKeyDictionary()
        self._thread = ThreadPoolExecutor(1)
        for tensor, value in (instead or {}).items():
            self._shadows[tensor] = value

    def follow(self, image: Tensor) -> Tensor:
        """The shadow of `image`, with respect to which gradients are taken."""
        dtype = torch.float32 if image.device.type == "mps" else torch.float64
        leaf = torch.zeros(image.shape, dtype=dtype, device=image.device, requires_grad=True)
        with torch.enable_grad():
            self._shadows[image] = leaf.clone()
        return leaf

    def of(self, tensor: Tensor) -> Tensor | None:
        """The shadow of a tensor; None if it does not depend on the image."""
        found = self._find(tensor)
        return found if _depends(found) else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        seen = {t: self._find(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        seen = {t: s for t, s in seen.items() if s is not None}
        if not seen:
            return func(*args, **kwargs)
        target = args[0] if func._schema.is_mutable and args else None
        instead = {t: s for t, s in seen.items() if not _depends(s)}
        if target is not None and target not in seen:  # what it holds now counts, not what will be written
            instead[target] = target.clone()
        replaced = tree_map(lambda t: instead.get(t, t) if isinstance(t, Tensor) else t, (args, kwargs))
        out = func(*args, **kwargs)
        depending = {t: s for t, s in seen.items() if _depends(s)}
        if depending:
            self._apart(self._follow, func, _bind(func, *replaced), out, depending, target)
        else:
            self._keep(out, self._apart(torch.no_grad()(func), *replaced[0], **replaced[1]))
        return out

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._thread.shutdown()

    def _apart(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """In a thread of its own: in this one no gradients are recorded while an operation is being dispatched."""
        return self._thread.submit(function, *args, **kwargs).result()

    def _follow(self, func: Any, given: dict[str, Any], out: Any, depending: Any, target: Any) -> None:
        name = func._schema.name.partition("::")[2]
        name = name.rstrip("_") if target is not None else name
        if name in CONSTANTS:
            return
        call = Call(self.who, func, name, given, out, depending, self.weighted, self._known)
        rule = find_rule(func, name)
        if rule is None:
            raise call.refuse(str(func))
        found = rule(call)
        if any(id(t) not in call.used for t in depending):
            raise call.refuse(f"{func} where another argument than usual depends on the image")
        if target is not None:
            self._write(target, found if isinstance(found, Tensor) else found[0])
        elif any(r.alias_info for r in func._schema.returns):  # a view, whose shadow may be written to
            self._keep(out, found)
        else:
            self._keep(out, found if self.weighted else tree_map(_Even.apply, found))

    def _write(self, target: Tensor, value: Tensor) -> None:
        """In place: what shares the target's storage sees it, too."""
        shadow = self._find(target)
        if not isinstance(shadow, Tensor):
            base = target._base if target._is_view() and target._base is not None else target
            self._shadows[base] = torch.empty_strided(
                base.size(), base.stride(), dtype=value.dtype, device=value.device
            ).zero_()
            shadow = self._find(target)
            assert isinstance(shadow, Tensor)
        value = value if self.weighted else _even(value)
        try:
            shadow.copy_(value.expand(shadow.shape))
        except RuntimeError:  # autograd does not write into one of several views
            self._shadows[target] = value.expand(shadow.shape)

    def _keep(self, out: Any, shadows: Any) -> None:
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        values = [shadows] if isinstance(shadows, Tensor) else list(tree_leaves(shadows))
        for number, tensor in enumerate(results):
            more = values[number] if number < len(values) else "a side result, which is not followed"
            self._shadows[tensor] = more

    def _find(self, tensor: Tensor) -> Any:
        found = self._shadows.get(tensor)
        if found is None and tensor._is_view():
            base = self._shadows.get(tensor._base)
            if isinstance(base, Tensor):  # seen first after its base was written to
                with torch.enable_grad():
                    found = base.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
                self._shadows[tensor] = found
        return found


class _Even(torch.autograd.Function):
    """The identity, whose gradient says only where it is not zero: no product of many weights overflows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return (gradients[0] != 0).to(gradients[0].dtype)


_even: Callable[[Tensor], Tensor] = _Even.apply  # pyright: ignore[reportAssignmentType]


def _depends(shadow: Any) -> bool:
    return isinstance(shadow, str) or (isinstance(shadow, Tensor) and shadow.requires_grad)


def _bind(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    named = func._schema.arguments
    defaults = {a.name: a.default_value for a in named if a.has_default_value()}
    return defaults | dict(zip((a.name for a in named), args, strict=False)) | dict(kwargs)
