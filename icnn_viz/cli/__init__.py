"""The console script `icnn-viz`: kernels, heatmap, demo. One module per command with a `command`."""

from __future__ import annotations

from typing import NoReturn

from icnn_core.cli.app import add_commands, make_app, run

_COMMANDS = ("kernels", "heatmap", "demo")


def main() -> NoReturn:
    """Run `icnn-viz` on the command line."""
    app = make_app(
        "icnn-viz", "Look at irregular convolutions: shapes of kernels, and what a pixel depends on."
    )
    add_commands(app, "icnn_viz.cli", _COMMANDS)
    run(app)
