"""Networks as trainings hold them: wrapped, compiled or averaged, their tensors in parts over processes."""

from __future__ import annotations

import re

from torch import Tensor, nn

_WRAPPERS = (
    "DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "DeepSpeedEngine", "_FabricModule",
    "AveragedModel",
)  # fmt: skip
_IN_NAMES = re.compile(r"(?<![^.])(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)(\.|$)")


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside of what wraps it whole: DataParallel and its like, torch.compile, an average of weights."""
    while True:
        names = {kind.__name__ for kind in type(model).__mro__}
        inner = getattr(model, "_orig_mod", None) or (
            getattr(model, "module", None) if names.intersection(_WRAPPERS) else None
        )
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def plain_name(name: str) -> str:
    """A module's or tensor's name without what torch.compile and checkpointing put into it."""
    return _IN_NAMES.sub("", name).removesuffix(".")


def whole(tensor: Tensor) -> Tensor:
    """The tensor, put together where each process holds a part of it: then all of them must come here."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()
