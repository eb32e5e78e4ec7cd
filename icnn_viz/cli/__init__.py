"""The console script `icnn-viz`: kernels, heatmap, taps, ablation, report, explore, demo. One module per command."""

from __future__ import annotations

from typing import NoReturn

import typer

from icnn_core.cli.app import add_commands, make_app, run

_COMMANDS = ("kernels", "heatmap", "taps", "ablation", "report", "explore", "demo")
_EARLIER = {"reduce": "reduction", "smooth": "smoothing", "height": "third-axis"}
"""Options' names that are still taken, for one version."""


def build_app() -> typer.Typer:
    """The app with all its commands."""
    app = make_app(
        "icnn-viz",
        "Look at irregular convolutions: shapes of kernels, and what a pixel depends on.\n\n"
        "Example: icnn-viz heatmap --pixel 74,45",
        _EARLIER,
    )
    add_commands(app, "icnn_viz.cli", _COMMANDS)
    return app


def main() -> NoReturn:
    """Run `icnn-viz` on the command line."""
    run(build_app())
