"""Train a small pair of networks on the synthetic set: the demo's, and the one the package ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icnn_core.training.config import TrainConfig
    from icnn_core.training.loop import Progress, TrainingResult

KINDS = ("regular", "irregular")


@dataclass(frozen=True)
class Pair:
    """Two trained networks of the same start, data and schedule, and a picture that neither was trained on."""

    regular: TrainingResult
    irregular: TrainingResult
    sample: Path


def train_pair(
    out: Path,
    *,
    irregular: str,
    device: str,
    on_progress: Callable[[str, Progress], object] = lambda kind, progress: None,
    **settings: Any,
) -> Pair:
    """Train both networks into `out/regular` and `out/irregular`, and write `out/sample.png`.

    Args:
        irregular: the module from which the second network is irregular.
        settings: of `TrainConfig`, the same for both.
    """
    from icnn_core.devices import choose_device
    from icnn_core.training.config import make_config
    from icnn_core.training.loop import train
    from icnn_core.training.setup import prepare

    results = {}
    for kind in KINDS:
        config: TrainConfig = make_config(
            "shapes", **settings, irregular=irregular if kind == "irregular" else None
        )
        prepared = prepare(config)
        results[kind] = train(
            prepared.model,
            prepared.train_set,
            prepared.val_samples,
            prepared.transform,
            config,
            out / kind,
            overwrite=True,
            device=choose_device(device),
            on_progress=lambda progress, kind=kind: on_progress(kind, progress),
        )
        if results[kind].interrupted:
            raise KeyboardInterrupt
    return Pair(results["regular"], results["irregular"], write_sample(out / "sample.png"))


def write_snapshots(run: Path, out: Path) -> list[Path]:
    """The shapes that a run kept on its way, their weights in half precision, instead of those that `out` holds."""
    from icnn_core.checkpoint import Snapshot, read_checkpoint
    from icnn_core.training.folder import SNAPSHOTS

    for stale in out.glob("*.safetensors"):
        stale.unlink()
    written = []
    for path in sorted((run / SNAPSHOTS).glob("*.safetensors")):
        read = read_checkpoint(path)
        small = {name: t.half() if name.endswith(".weight") else t for name, t in read.state.items()}
        written.append(Snapshot(read.irregular, small).write(out, read.iteration or 0))
    return written


def write_sample(path: Path) -> Path:
    """The first image of the synthetic test split as PNG, and beside it, as `<name>-labels.png`, its true class ids."""
    from PIL import Image

    from icnn_core.datasets.shapes import ShapesDataset
    from icnn_core.errors import DataError
    from icnn_core.files import write_atomically

    tensor, mask = ShapesDataset("test")[0]
    labels = Image.fromarray(mask.numpy().astype("uint8"))
    image = Image.fromarray(tensor.permute(1, 2, 0).numpy())
    for picture, place in ((labels, path.with_name(f"{path.stem}-labels.png")), (image, path)):
        write_atomically(place, lambda temporary, one=picture: one.save(temporary, format="PNG"), DataError)
    return path


def surest_pixel(checkpoint: Path) -> tuple[int, int]:
    """(y, x) of the pixel of a thing, in the first image of the test split, where the network is surest and right."""
    import torch

    from icnn_core.checkpoint import build_model, read_checkpoint
    from icnn_core.datasets.shapes import ShapesDataset
    from icnn_core.datasets.transforms import normalise

    image, mask = ShapesDataset("test")[0]
    with torch.inference_mode():
        probability = build_model(read_checkpoint(checkpoint))(normalise(image)[None])[0].softmax(0)
    right = probability.gather(0, mask[None])[0] * (mask > 0)
    y, x = divmod(int(right.argmax()), right.shape[1])
    return y, x
