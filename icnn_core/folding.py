"""Methods that fold a block's convolutions into one kernel: they read weights, would forget positions, and refuse."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from icnn_core.errors import ArgumentError
from icnn_core.nn import IrregularConv2d

METHODS = ("fuse", "fuse_model", "reparameterize", "switch_to_deploy", "convert_to_deploy", "merge_kernel")
"""As timm, torchvision and the networks' own code call them; those that need an argument are something else."""


class RefusedFolding:
    """Stands in a module that contains irregular layers for a method that would forget their positions.

    It holds nothing of the module, so that copies and pickles of it are as before.
    """

    def __init__(self, kind: str, method: str) -> None:
        self.kind, self.method = kind, method

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Raises: ArgumentError, always."""
        needed = "regular convolutions: it folds them into one kernel by their weights alone"
        got = "irregular layers, whose positions it would forget"
        fix = "Fold before make_irregular, or leave the network as it is; fix_positions is for deployment."
        raise ArgumentError(f"{self.kind}.{self.method}", needed=needed, got=got, fix=fix)


def refuse_folding(model: nn.Module) -> None:
    """Let every module of a network that contains irregular layers refuse `METHODS`, in place."""
    for module in nn.Module.modules(model):
        if isinstance(module, torch.jit.ScriptModule | IrregularConv2d):
            continue
        methods = [name for name in METHODS if _folds(type(module), name)]
        if methods and any(isinstance(part, IrregularConv2d) for part in nn.Module.modules(module)):
            for name in methods:
                vars(module)[name] = RefusedFolding(type(module).__name__, name)


def allow_folding(model: nn.Module) -> None:
    """The way back, of modules that contain irregular layers no more."""
    for module in nn.Module.modules(model):
        refused = [name for name, value in vars(module).items() if isinstance(value, RefusedFolding)]
        if refused and not any(isinstance(part, IrregularConv2d) for part in nn.Module.modules(module)):
            for name in refused:
                del vars(module)[name]


def _folds(kind: type[nn.Module], name: str) -> bool:
    """Whether a class has a method of the name that needs nothing but the module."""
    method = inspect.getattr_static(kind, name, None)
    if not inspect.isfunction(method):
        return False
    _, *others = inspect.signature(method).parameters.values() or (None,)
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(each.default is not each.empty or each.kind in free for each in others)
