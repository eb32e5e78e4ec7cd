"""The errors this project raises on purpose. Anything else is a bug and keeps its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IcnnError(Exception):
    """Base of all errors that a caller can cause and mend.

    Args:
        who: the function, command, file or layer that refuses.
        needed: what it needs.
        got: what came instead (shape, dtype, device, name, …).
        fix: what to do about it.
    """

    def __init__(self, who: str, *, needed: str, got: str, fix: str) -> None:
        super().__init__(who, needed, got, fix)
        self.who, self.needed, self.got, self.fix = who, needed, got, fix

    def __str__(self) -> str:
        return f"{self.who}: needs {self.needed}; got {self.got}. {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.who, self.needed, self.got, self.fix))


def _rebuild(cls: type[IcnnError], who: str, needed: str, got: str, fix: str) -> IcnnError:
    return cls(who, needed=needed, got=got, fix=fix)


class ShapeError(IcnnError, ValueError):
    """A tensor or array has the wrong shape."""


class DtypeError(IcnnError, TypeError):
    """A tensor has a dtype that cannot be used here, or two tensors disagree."""


class DeviceError(IcnnError, ValueError):
    """Tensors lie on different devices, or a device is not there."""


class ArgumentError(IcnnError, ValueError):
    """A value other than a tensor is out of range or of the wrong kind."""


class NameNotFoundError(IcnnError, LookupError):
    """A layer, class, architecture, data set or column is named that does not exist."""


class CheckpointError(IcnnError, ValueError):
    """A checkpoint cannot be read, written or used."""


class DataError(IcnnError, ValueError):
    """A data set or image on disk is missing, unreadable or inconsistent."""


class TrainingError(IcnnError, RuntimeError):
    """Training cannot start or cannot go on."""


class UnsupportedError(IcnnError, NotImplementedError):
    """A forced back end cannot serve this call. The text begins "not supported:"."""

    def __str__(self) -> str:
        return f"not supported: {self.who}: {self.got} (needs {self.needed}). {self.fix}"


def nearest_names(name: str, known: Iterable[str]) -> str:
    """The known names closest to `name`, for the last part of an error: "did you mean …?"."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    if close:
        return "Did you mean " + " or ".join(close) + "?"
    shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return f"Known names: {shown}." if known else "There are none."


def check_name(
    who: str, needed: str, name: object, known: Iterable[str], error: type[IcnnError] = NameNotFoundError
) -> None:
    """Raise `error`, whose last part tells the nearest of the `known` names, if `name` is none of them."""
    names = list(known)
    if name not in names:
        raise error(who, needed=needed, got=repr(name), fix=nearest_names(str(name), names))
