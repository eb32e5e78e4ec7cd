"""The console script `icnn`. One module per command with a `command`; `import-masks` is `import_masks`."""

from __future__ import annotations

from typing import NoReturn

import typer

from icnn_core.cli.app import add_commands, make_app, run

_COMMANDS = ("train", "ablate", "evaluate", "convert", "layers", "import-masks", "bench")


def build_app() -> typer.Typer:
    """The app with all its commands."""
    app = make_app(
        "icnn",
        "Irregular convolutions: train, ablate, evaluate, convert, list layers, time. To look: icnn-viz.\n\n"
        "Example: icnn train shapes --irregular fc1 --out run",
    )
    add_commands(app, "icnn_core.cli", _COMMANDS)
    return app


def main() -> NoReturn:
    """Run `icnn` on the command line."""
    run(build_app())
