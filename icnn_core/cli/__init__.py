"""The console script `icnn`: train, evaluate, convert, bench. One module per command with a `command`."""

from __future__ import annotations

from typing import NoReturn

from icnn_core.cli.app import add_commands, make_app, run

_COMMANDS = ("train", "evaluate", "convert", "bench")


def main() -> NoReturn:
    """Run `icnn` on the command line."""
    app = make_app(
        "icnn",
        "Irregular convolutions: train, evaluate, convert, time. To look: icnn-viz.",
    )
    add_commands(app, "icnn_core.cli", _COMMANDS)
    run(app)
