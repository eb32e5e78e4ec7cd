"""Sizes and lists of numbers as they are written on the command line."""

from __future__ import annotations

import typer


def parse_size(text: str) -> tuple[int, int]:
    """ "HEIGHTxWIDTH", or one number for a square, to (height, width). A usage error if it is anything else."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not HEIGHTxWIDTH in pixels, e.g. 180x240, nor one number.")
    return int(parts[0]), int(parts[-1])


def parse_numbers(text: str) -> tuple[float, ...]:
    """ "0.5,1,1.5" to numbers. A usage error if it is anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers, e.g. 0.5,1,1.5.") from error
