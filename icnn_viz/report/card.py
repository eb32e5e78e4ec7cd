"""The model card: what the checkpoints say of themselves, and what the surgery did, network beside network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.identity import digest_file
from icnn_core.text import counted
from icnn_viz.records import shape_per
from icnn_viz.report.tables import Column, Table, to_table

if TYPE_CHECKING:
    from icnn_core.checkpoint import Checkpoint


_PATHS = {"root", "sbd_root", "weights", "init"}


@dataclass(frozen=True)
class Card:
    """The card of one or two networks.

    Attributes:
        names: what the networks are called.
        facts: rows of a name and one value a network.
        settings: of the training, likewise, and whether they differ; empty if the files do not tell.
        surgery: one row a convolution that is larger than 1×1 or irregular.
        surgery_words: what was done, in sentences.
        iou: per class, or None if no file tells.
        classes: names with their colours in maps ("" if unknown).
    """

    names: tuple[str, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    settings: tuple[tuple[str, tuple[str, ...], bool], ...]
    surgery: Table
    surgery_words: tuple[str, ...]
    iou: Table | None
    classes: tuple[tuple[str, str], ...]


def to_card(checkpoints: Mapping[str, Checkpoint]) -> Card:
    """The card of checkpoints by name, the irregular one first."""
    files = list(checkpoints.values())
    facts = [_list_facts(one) for one in files]
    settings = [_settings(one) for one in files]
    names = list(dict.fromkeys(name for own in settings for name in own))
    rows = [(name, tuple(own.get(name, "–") for own in settings)) for name in names]
    return Card(
        tuple(checkpoints),
        tuple((name, tuple(own[name] for own in facts)) for name in facts[0]),
        tuple((name, values, len(set(values)) > 1) for name, values in rows),
        _to_surgery_table(files[0]),
        _describe_surgery(files[0]),
        _to_iou_table(checkpoints),
        _list_classes(files),
    )


def mean_iou(checkpoint: Checkpoint) -> float | None:
    """What the file says of its network's mean IoU, 0 to 1."""
    return _number(checkpoint.metrics.get("mean_iou"))


def _list_facts(one: Checkpoint) -> dict[str, str]:
    architecture = one.architecture
    arguments = architecture.arguments if architecture else {}
    weights, positions = _count(one)
    iou, accuracy = mean_iou(one), _number(one.metrics.get("pixel_accuracy"))
    size = one.dataset.get("size")
    return {
        "file": f"{one.path.name} ({_size(one.path) / 1e6:.1f} MB)",
        "SHA-256, first 16 digits": "– (a folder)" if one.path.is_dir() else digest_file(one.path),
        "architecture": architecture.name if architecture else "not told by the file (a plain state dict)",
        "its arguments": ", ".join(f"{name} = {_plain(value)}" for name, value in arguments.items()) or "–",
        "irregular layers": f"{len(one.irregular)}",
        "numbers in the weights": f"{weights:,}",
        "numbers in the positions": f"{positions:,} ({positions / max(weights + positions, 1):.2%} of all)",
        "classes": f"{len(one.classes)}" if one.classes else "not told by the file",
        "trained on": _plain(one.dataset.get("name", "not told by the file")),
        "sees images of (height × width)": _plain(size).replace(", ", " × ") if size else "their own size",
        "mean IoU, by the file": "–" if iou is None else f"{iou:.1%}",
        "pixel accuracy, by the file": "–" if accuracy is None else f"{accuracy:.1%}",
        "iteration": _plain(one.metrics.get("iteration", "–")),
        "written by icnn": one.package_version or "–",
    }


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    return sum(
        each.stat().st_size for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file()
    )


def _settings(one: Checkpoint) -> dict[str, str]:
    config = one.dataset.get("config")
    if not isinstance(config, dict):
        return {}
    shown = {str(name): _plain(value) for name, value in config.items()}
    # Of paths the last part: a page is passed on, and where its maker keeps files is nobody's business.
    return {name: Path(text).name if name in _PATHS else text for name, text in shown.items()}


def _count(one: Checkpoint) -> tuple[int, int]:
    """Numbers in weights and in positions; batch statistics and slots are neither."""
    kept = ("running_mean", "running_var", "num_batches_tracked", "slots")
    sizes = {
        name: tensor.numel() for name, tensor in one.state.items() if name.rpartition(".")[2] not in kept
    }
    shapes = {
        f"{layer.name}.{part}" for layer in one.irregular for part in ("positions", "sigma", "P", "SIG")
    }
    positions = sum(size for name, size in sizes.items() if name in shapes)
    return sum(sizes.values()) - positions, positions


def _convolutions(one: Checkpoint) -> dict[str, tuple[int, ...]]:
    """(kernels, channels per group, height, width) by the name of the layer; a DCLS layer's weight has three axes."""
    sizes = {layer.name: layer.kernel_size for layer in one.irregular}
    weights = {
        name.removesuffix(".weight"): tensor.shape
        for name, tensor in one.state.items()
        if name.endswith(".weight")
    }
    return {
        name: (*shape[:2], *sizes.get(name, shape[2:]))
        for name, shape in weights.items()
        if len(shape) == 4 or name in sizes
    }


def _describe_surgery(one: Checkpoint) -> tuple[str, ...]:
    found = _convolutions(one)
    irregular = {layer.name for layer in one.irregular}
    larger = [name for name, shape in found.items() if max(shape[2:]) > 1]
    pointwise = len(found) - len(larger)
    regular = [name for name in larger if name not in irregular]
    config = one.dataset.get("config")
    start = config.get("irregular") if isinstance(config, dict) else None
    begun = f", from the module “{_plain(start)}” to the end of the network" if start else ""
    if not found:
        layers = counted(len(irregular), "layer")
        return (f"The file holds the positions of {layers}, and nothing of the network around them.",)
    words = [f"{len(irregular)} of {counted(len(found), 'convolution')} are irregular{begun}."]
    if regular:
        words.append(f"Regular, though larger than 1×1: {len(regular)}.")
    if pointwise:
        words.append(f"Of size 1×1, which only mix channels and stay regular always: {pointwise}.")
    return tuple(words)


def _to_surgery_table(one: Checkpoint) -> Table:
    columns = (
        Column("layer", "convolution"),
        Column("now", "now"),
        Column("kernel", "kernel"),
        Column("dilation", "dilation"),
        Column("sharing", "one shape per"),
        Column("kernels", "kernels", ",.0f"),
        Column("channels", "channels of each", ",.0f"),
        Column("positions", "learnt positions", ",.0f"),
    )
    irregular = {layer.name: layer for layer in one.irregular}
    rows = []
    for name, (kernels, channels, height, width) in _convolutions(one).items():
        layer = irregular.get(name)
        if layer is None and max(height, width) == 1:
            continue
        places = one.state.get(f"{name}.positions", one.state.get(f"{name}.P"))
        positions = places.numel() // 2 if layer and places is not None else 0
        shape = ("×".join(map(str, layer.dilation)), shape_per(layer.sharing)) if layer else (None, None)
        now = "irregular" if layer else "regular"
        rows.append((name, now, f"{height}×{width}", *shape, kernels, channels, positions))
    caption = "Convolutions larger than 1×1, and what the surgery did with them"
    return to_table(rows, "convolutions", caption, columns)


def _to_iou_table(checkpoints: Mapping[str, Checkpoint]) -> Table | None:
    found = [one.metrics.get("iou") for one in checkpoints.values()]
    tables = [values if isinstance(values, dict) else {} for values in found]
    names = list(dict.fromkeys(str(name) for values in tables for name in values))
    if not names:
        return None
    columns = [
        Column("class", "class"),
        *(Column(f"iou_{name}", f"{name} (%)", ".1f") for name in checkpoints),
    ]
    pair = len(tables) == 2 and all(tables)
    columns += [Column("difference", "difference (points)", "+.1f")] * pair
    rows = []
    for name in names:
        shares = [_number(table.get(name)) for table in tables]
        values = [None if share is None else 100 * share for share in shares]
        both = [100 * share for share in shares if share is not None]
        rows.append((name, *values, *[both[0] - both[1] if len(both) == 2 else None] * pair))
    return to_table(rows, "iou", "IoU of each class, as the files tell it", columns)


def _list_classes(files: Sequence[Checkpoint]) -> tuple[tuple[str, str], ...]:
    named = next((one for one in files if one.classes), None)
    if named is None:
        return ()
    known = len(named.palette) == len(named.classes)
    colours = ["#" + bytes(c % 256 for c in colour).hex() for colour in named.palette] if known else []
    return tuple(zip(named.classes, colours or [""] * len(named.classes), strict=True))


def _number(value: Any) -> float | None:
    """A finite number, or None: a file may say anything."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < float("inf") else None


def _plain(value: Any) -> str:
    """A JSON value as a reader would write it, lists without brackets, at most 200 letters long."""
    if isinstance(value, list | tuple):
        value = ", ".join(map(_plain, value))
    text = (
        value if isinstance(value, str) else "–" if value is None else json.dumps(value, ensure_ascii=False)
    )
    return text if len(text) <= 200 else text[:199] + "…"
