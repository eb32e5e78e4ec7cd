"""A user's own network: the function that builds it, by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from icnn_core.errors import ArgumentError, NameNotFoundError, nearest_names


def load_factory(text: str, who: str = "--model") -> Callable[..., nn.Module]:
    """The function "package.module:function", imported because the user names it here, from the working folder too.

    Calling it runs the user's code: nothing that a file says may ever be given to this function.

    Raises:
        NameNotFoundError: there is no such module or function.
        ArgumentError: it is not written so, cannot be called, or its module fails on import.
    """
    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise ArgumentError(
            who, needed="package.module:function", got=repr(text), fix="E.g. --model mynets.unet:make_unet."
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = _import(module_name, who)
    if not callable(getattr(module, name, None)):
        fix = nearest_names(name, [n for n, value in vars(module).items() if callable(value)])
        raise NameNotFoundError(who, needed=f"a function in {module_name}", got=repr(name), fix=fix)
    return getattr(module, name)


def build_with(
    factory: Callable[..., nn.Module], num_classes: int | None = None, who: str = "--model"
) -> nn.Module:
    """The network that the user's function builds.

    Args:
        num_classes: given to the function if it has a parameter of this name; None leaves it to its default.

    Raises:
        ArgumentError: it fails, or gives something else than a network.
    """
    given = {}
    if num_classes is not None and "num_classes" in _parameters(factory):
        given = {"num_classes": num_classes}
    try:
        model = factory(**given)
    except Exception as error:  # the user's own function may fail in any way
        call = ", ".join(f"{key}={value}" for key, value in given.items())
        needed = f"a function that can be called as {_name(factory)}({call})"
        fix = "Give defaults to its other parameters."
        raise ArgumentError(who, needed=needed, got=f"{type(error).__name__}: {error}", fix=fix) from error
    if not isinstance(model, nn.Module):
        needed, fix = "a function that returns a torch.nn.Module", "Return the network."
        raise ArgumentError(who, needed=needed, got=f"{type(model).__name__} from {_name(factory)}", fix=fix)
    return model


def _import(name: str, who: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        needed = "a module that can be imported from here"
        fix = "Install it, or run this in the folder that holds it."
        raise NameNotFoundError(who, needed=needed, got=str(error), fix=fix) from error
    except Exception as error:  # the user's own module may fail in any way
        needed, got = "a module that can be imported", f"{type(error).__name__}: {error}"
        raise ArgumentError(who, needed=needed, got=got, fix=f"Try: python -c 'import {name}'.") from error


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some builtins have none
        return {}


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__name__", type(factory).__name__)
