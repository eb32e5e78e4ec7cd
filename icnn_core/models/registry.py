"""Name and plain arguments to a network: the only way in which a checkpoint's architecture is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from icnn_core.errors import ArgumentError, check_name
from icnn_core.models.architecture import Architecture
from icnn_core.models.deeplab import deeplab_largefov

__all__ = ["ARCHITECTURES", "Architecture", "build_architecture"]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"deeplab_largefov": deeplab_largefov}
_NOT_STORED = {"weights"}  # files are named by the user, never by a checkpoint


def build_architecture(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """A network of this package with random weights. The result carries `.architecture`, what was asked for.

    Args:
        name: a key of `ARCHITECTURES`.
        arguments: JSON values by parameter name, e.g. {"backbone": "tiny", "num_classes": 5}.

    Raises:
        NameNotFoundError: an unknown architecture or backbone.
        ArgumentError: an unknown or missing argument, or a value out of range.
    """
    who = "build_architecture"
    check_name(who, "an architecture of this package", name, ARCHITECTURES)
    parameters = inspect.signature(ARCHITECTURES[name]).parameters
    known = [p for p in parameters if p not in _NOT_STORED]
    for argument in arguments:
        check_name(f"{who}({name!r})", "known arguments", argument, known, ArgumentError)
    missing = [p for p in known if parameters[p].default is inspect.Parameter.empty and p not in arguments]
    if missing:
        needed, got = ", ".join(missing), ", ".join(arguments) or "no arguments"
        raise ArgumentError(f"{who}({name!r})", needed=needed, got=got, fix="Add what is missing.")
    return ARCHITECTURES[name](**arguments)
