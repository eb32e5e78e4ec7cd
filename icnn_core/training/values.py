"""Values of settings, as TOML, a checkpoint or the command line write them, in the types that settings have."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from icnn_core.errors import ArgumentError

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple[int, int]: "HEIGHTxWIDTH, one number or [height, width]",
    tuple[float, float]: "two numbers, e.g. 0.5,1.5 or [0.5, 1.5]",
    tuple[float, ...]: "numbers, e.g. 0.5,0.4,0.3 or [0.5, 0.4, 0.3]",
}


def to_type(key: str, value: Any, hint: Any) -> Any:
    """`value` as `hint` wants it: lists and the options' spelling become tuples, whole numbers stand for fractions.

    Raises:
        ArgumentError: it is of another type.
    """
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    if type(None) in options and value in (None, "none"):
        return None
    for option in options:
        if get_origin(option) is tuple:
            inner, parts = get_args(option), _spelt_out(value, get_args(option)[0])
            if inner[-1] is ... and isinstance(parts, list | tuple):
                return tuple(to_type(key, v, inner[0]) for v in parts)
            if isinstance(parts, list | tuple) and len(parts) == len(inner):
                return tuple(to_type(key, v, kind) for v, kind in zip(parts, inner, strict=True))
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif type(value) is option:
            return value
    needed = " or ".join(_WORDS[option] for option in options if option is not type(None))
    raise ArgumentError("train", needed=f"{key} as {needed}", got=repr(value), fix="Write it so.")


def _spelt_out(value: Any, kind: type) -> Any:
    """A size or a range as the options write them, 180x240, 240 or 0.5,1.5, as numbers; anything else as it is."""
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if not isinstance(value, str):
        return value
    parts = value.lower().replace("×", "x").split("x") if kind is int else value.split(",")
    try:
        numbers = tuple(kind(part) for part in parts)
    except ValueError:
        return value
    return numbers * 2 if kind is int and len(numbers) == 1 else numbers
