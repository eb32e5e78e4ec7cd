"""Commands whose options are grouped in dataclasses, which commands of both console scripts share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, Literal, get_type_hints

import typer

from icnn_core.cli._options import ModelOption, PrefixOption, parse_numbers


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes dataclasses, as one that takes their fields in their place: what Typer, and a caller, see.

    Fields are options of the fields' names; no two groups have one in common.
    """
    signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
    groups = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
    named = {field.name: group for group, kind in groups.items() for field in fields(kind)}
    seen: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        inner = get_type_hints(groups[name], include_extras=True) if name in groups else {}
        spread = {field.name: _default(field) for field in fields(groups[name])} if name in groups else {}
        for option, default in (spread or {name: parameter.default}).items():
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            annotation = inner.get(option, hints.get(option))
            seen[option] = inspect.Parameter(option, kind, default=default, annotation=annotation)

    @wraps(command)
    def flat(*given: Any, **options: Any) -> None:
        options |= dict(zip(seen, given, strict=False))
        own = {name: value for name, value in options.items() if name not in named}
        for group, kind in groups.items():
            own[group] = kind(**{name: value for name, value in options.items() if named.get(name) == group})
        command(**own)

    flat.__annotations__ = {name: each.annotation for name, each in seen.items()} | {"return": None}
    flat.__signature__ = inspect.Signature(list(seen.values()))  # type: ignore[attr-defined]
    del flat.__wrapped__  # type: ignore[attr-defined]
    return flat


def values_of(*groups: Any) -> dict[str, Any]:
    """Options of several groups by name."""
    return {name: value for group in groups for name, value in vars(group).items()}


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default is MISSING else field.default  # type: ignore[misc]


Fit = Literal["pad", "resize"]
"""How images get to a size that the network takes."""
Order = Literal["rgb", "bgr"]
"""Of colours, as the network wants them."""


@dataclass(frozen=True)
class OwnNetwork:
    """A network that others made: what builds it, what its weights are called, how it wants images, where its logits
    are; left out, as it says itself."""

    model: ModelOption = None
    prefix: PrefixOption = None
    output: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Name of the logits in what the network returns, or their number in a tuple."
        ),
    ] = None
    divisor: Annotated[
        int | None,
        typer.Option(min=1, help="Bring images to multiples of this, e.g. 32, if the network wants it."),
    ] = None
    fit: Annotated[Fit | None, typer.Option(help="How, with --divisor; pad by default.")] = None
    mean: Annotated[
        str | None, typer.Option(metavar="M,…", help="Subtract from each channel; by default ImageNet's.")
    ] = None
    std: Annotated[str | None, typer.Option(metavar="S,…", help="Then divide by; by default ImageNet's.")] = (
        None
    )
    white: Annotated[
        float | None, typer.Option(metavar="V", help="What 255 becomes before --mean: 1 or 255.")
    ] = None
    order: Annotated[Order | None, typer.Option(help="Of the colours; rgb by default.")] = None
    reader: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGE.MODULE:FUNCTION",
            help="Your own function from an image's path to an array, e.g. numpy:load. It is imported and run.",
        ),
    ] = None

    def options(self) -> dict[str, Any]:
        """What `icnn_viz.displays.pixels.load_networks` takes of it."""
        return {"model": self.model, "prefix": self.prefix, "reader": self.reader, **self.preparation()}

    def preparation(self) -> dict[str, Any]:
        """What of `icnn_core.preparation.Preparation` is said; None where nothing is."""
        return {
            "output": self.output,
            "divisor": self.divisor,
            "fit": self.fit,
            "mean": parse_numbers(self.mean) if self.mean else None,
            "std": parse_numbers(self.std) if self.std else None,
            "white": self.white,
            "order": self.order,
        }
