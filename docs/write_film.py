"""Films how the shapes of one layer grow in a short training on drawn shapes: `python docs/write_film.py`.

It trains for some minutes on two cores and writes images/growing.gif.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from icnn_core.training.config import make_config
from icnn_core.training.loop import train
from icnn_core.training.setup import prepare
from icnn_viz.displays import KernelDisplay
from icnn_viz.figures.trajectory import draw_frames
from icnn_viz.figures.write import write_film

LAYER = "classifier.fc1"
ITERATIONS, FRAMES = 250, 25
PATH = Path(__file__).parent / "images" / "growing.gif"


def main() -> None:
    """Train, keeping the positions for every frame, and write the film."""
    config = make_config(
        "shapes",
        irregular="backbone.layer3",
        iterations=ITERATIONS,
        evaluate_every=ITERATIONS // FRAMES,
        train_images=400,
        val_images=1,
    )
    prepared = prepare(config)
    with tempfile.TemporaryDirectory() as folder:
        train(
            prepared.model,
            prepared.train_set,
            prepared.val_samples,
            prepared.transform,
            config,
            Path(folder) / "run",
        )
        display = KernelDisplay.from_snapshots([Path(folder) / "run" / "snapshots"], [LAYER])
    clouds = [snapshot[0] for snapshot in display.snapshots]
    write_film(draw_frames(clouds, display.steps), PATH, dpi=110, pace=6)


if __name__ == "__main__":
    main()
