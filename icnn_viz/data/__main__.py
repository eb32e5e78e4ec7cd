"""Make the pair, its snapshots and the sample image that the package ships: `python -m icnn_viz.data`."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path

from icnn_viz.data.pair import KINDS, train_pair, write_sample, write_snapshots


def main() -> None:
    """Train both networks with one seed and schedule and store them in half precision, positions in full."""
    import torch

    from icnn_core.checkpoint import build_model, read_checkpoint, write_checkpoint

    here = Path(str(files("icnn_viz.data")))
    with tempfile.TemporaryDirectory() as folder:
        pair = train_pair(
            Path(folder),
            irregular="backbone.layer3",
            device="auto",
            seed=0,
            iterations=2500,
            evaluate_every=1000,  # keeps the shapes, too
            on_progress=lambda kind, p: p.iteration % 500 == 0 and print(kind, p, flush=True),
        )
        for kind in KINDS:
            read = read_checkpoint(getattr(pair, kind).checkpoint)
            write_checkpoint(
                here / f"shapes-{kind}.safetensors",
                build_model(read),
                classes=read.classes,
                palette=read.palette,
                ignore_index=read.ignore_index,
                dataset=read.dataset,
                metrics=read.metrics,
                dtype=torch.float16,
            )
            print(kind, read.metrics)
        write_snapshots(pair.irregular.checkpoint.parent, here / "snapshots")
    write_sample(here / "sample.png")


if __name__ == "__main__":
    main()
