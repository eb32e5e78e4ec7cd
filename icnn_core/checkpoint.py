"""Self-describing checkpoints: written atomically, read without ever running code from the file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from icnn_core import __version__
from icnn_core.errors import CheckpointError, IcnnError
from icnn_core.facts import Facts
from icnn_core.files import nearest_files, write_atomically
from icnn_core.models.registry import Architecture, build_architecture
from icnn_core.nn import SHARINGS, IrregularConv2d, Sharing
from icnn_core.surgery import irregular_layers

_log = logging.getLogger(__name__)
FORMAT_VERSION = 1
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")
_BARE = "layer"  # the name that a network gets which is a single layer


@dataclass(frozen=True)
class IrregularLayer:
    """An irregular layer as a checkpoint describes it. Pairs are (y, x); `stride` and `padding` are None if unknown."""

    name: str
    kernel_size: tuple[int, int]
    dilation: tuple[int, int]
    sharing: str
    groups: int = 1
    stride: tuple[int, int] | None = None
    padding: tuple[int, int] | str | None = None
    interpolation: str = "bilinear"


@dataclass(frozen=True, repr=False)
class Checkpoint(Facts):
    """What a file holds. A state dict of another program has `state` and `irregular` alone.

    Attributes:
        path: the file.
        state: tensors by dotted name, on the CPU.
        irregular: the irregular layers, in network order.
        architecture: how to build the network, or None.
        classes, palette, ignore_index: the label set; palette is RGB per class.
        dataset: what it was trained on, e.g. {"name": "camvid", "size": [180, 240]}.
        metrics: e.g. {"mean_iou": 0.43}.
        training: what resuming needs; empty in files that are not meant for it.
        package_version: of the writer.
    """

    path: Path
    state: dict[str, Tensor]
    irregular: tuple[IrregularLayer, ...]
    architecture: Architecture | None = None
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    dataset: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    package_version: str = ""

    @property
    def non_finite_layers(self) -> tuple[str, ...]:
        """Irregular layers with NaN or infinite positions."""
        names = (layer.name for layer in self.irregular)
        return tuple(name for name in names if not bool(self.state[f"{name}.positions"].isfinite().all()))

    def _facts(self) -> dict[str, str]:
        facts = {
            "file": str(self.path),
            "network": self.architecture.name if self.architecture else "a plain state dict",
            "numbers": f"{sum(tensor.numel() for tensor in self.state.values()):,}",
            "irregular layers": ", ".join(layer.name for layer in self.irregular) or "none",
        }
        facts |= {"classes": ", ".join(self.classes)} if self.classes else {}
        facts |= {"data set": str(self.dataset["name"])} if self.dataset.get("name") else {}
        numbers = {name: value for name, value in self.metrics.items() if isinstance(value, int | float)}
        return facts | {name: f"{value:.4g}" for name, value in numbers.items()}


def write_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    classes: Sequence[str] = (),
    palette: Sequence[Sequence[int]] = (),
    ignore_index: int = 255,
    dataset: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a network to `path` (.pt, or .safetensors by its suffix), under a temporary name that is then renamed.

    Args:
        model: its `architecture` (see `icnn_core.models.registry`) is written if it has one.
        classes, palette, ignore_index, dataset, metrics: plain JSON values, see `Checkpoint`.
        training: tensors and plain values that resuming needs; only in .pt files.
        dtype: store floating-point tensors but positions and slots in this type, to save room.

    Raises:
        CheckpointError: the folder cannot be written, the disk is full, or the values are not plain.
    """
    path, model = Path(path), _unwrapped(model)
    architecture = getattr(model, "architecture", None)
    layers = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, IrregularConv2d)
    }
    header = {
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "axis_order": "yx",
        "architecture": asdict(architecture) if isinstance(architecture, Architecture) else None,
        "irregular": [asdict(_describe(name or _BARE, layer)) for name, layer in layers.items()],
        "classes": list(classes),
        "palette": [list(colour) for colour in palette],
        "ignore_index": ignore_index,
        "dataset": dict(dataset or {}),
        "metrics": dict(metrics or {}),
    }
    prefix = f"{_BARE}." if isinstance(model, IrregularConv2d) else ""
    state = {prefix + name: _stored(name, tensor, dtype) for name, tensor in model.state_dict().items()}
    try:
        text = json.dumps(header)
    except (TypeError, ValueError) as error:
        raise _bad(path, "plain JSON values in the description", str(error), "Convert them first.") from error
    if path.suffix == ".safetensors":
        if training:
            raise _bad(path, "a .pt file for what resuming needs", ".safetensors", "Use the suffix .pt.")
        from safetensors.torch import save_file

        state = {name: tensor.clone() for name, tensor in state.items()}  # shared tensors are refused
        write_atomically(
            path, lambda temporary: save_file(state, temporary, metadata={"icnn": text}), CheckpointError
        )
    else:
        content = {"icnn": text, "state_dict": state, "training": dict(training or {})}
        write_atomically(path, lambda temporary: torch.save(content, temporary), CheckpointError)
    return path


def write_snapshot(folder: str | Path, model: nn.Module, iteration: int) -> Path | None:
    """Write the irregular layers' shapes alone into `folder`, named by the iteration; None if there are none.

    Small enough to keep every one: a state dict of positions, slots, and weights that are summed up by their norm over
    the kernels that share a shape. `read_checkpoint` reads it.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    state: dict[str, Tensor] = {}
    for name, layer in irregular_layers(_unwrapped(model)).items():
        weight = layer.weight.detach()
        if layer.sharing != "none":
            weight = weight.unflatten(0, (layer.groups, -1)).norm(dim=1)
        for key, tensor in (("weight", weight), ("positions", layer.positions), ("slots", layer.slots)):
            state[f"{name or _BARE}.{key}"] = tensor.detach().cpu().float().contiguous().clone()
    if not state:
        return None
    path = Path(folder) / f"{iteration:08d}.safetensors"
    return write_atomically(path, lambda temporary: save_file(state, temporary), CheckpointError)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this package, or any state dict that torch can load without running code.

    Raises:
        CheckpointError: missing, truncated, empty, not a checkpoint, made by a newer version, or a file that would
            run code when loaded.
    """
    path = Path(path)
    if path.is_dir():
        raise _bad(path, "a file", "a folder", "Name a file in it, e.g. last.pt.")
    if not path.is_file():
        raise _bad(path, "a file", "nothing there", nearest_files(path))
    if path.stat().st_size == 0:
        raise _bad(path, "a checkpoint", "an empty file", "It was probably cut off: write it again.")
    content, text = _load(path)
    training = content.pop("training", {}) if text is not None else {}
    state = _find_state(path, content, is_foreign=text is None)
    _log.debug("%s: %d tensors, %s", path, len(state), "described" if text else "a plain state dict")
    if text is None:
        return Checkpoint(path, state, _detect_layers(state))
    header = _parse_header(path, text)
    if header.get("axis_order") != "yx":
        raise _bad(path, "positions in the order (y, x)", str(header.get("axis_order")), "Write it again.")
    try:
        checkpoint = Checkpoint(
            path=path,
            state=state,
            irregular=tuple(_layer_from(entry) for entry in header["irregular"]),
            architecture=Architecture(**header["architecture"]) if header["architecture"] else None,
            classes=tuple(str(name) for name in header["classes"]),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in header["palette"]),
            ignore_index=int(header["ignore_index"]),
            dataset=dict(header["dataset"]),
            metrics=dict(header["metrics"]),
            training=training,
            package_version=str(header["package_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _bad(path, "a whole description", f"a broken one ({error!r})", "Write it again.") from error
    detected = {layer.name: layer for layer in _detect_layers(state)}
    for layer in checkpoint.irregular:
        if layer.name not in detected or not _agree(layer, detected[layer.name]):
            raise _bad(
                path, f"positions, slots and weight of {layer.name}", "none that fit", "Write it again."
            )
    return checkpoint


def build_model(checkpoint: Checkpoint, factory: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Build the checkpoint's network, in evaluation mode, with its weights and irregular layers.

    Args:
        factory: builds the regular network, for files that name no architecture of this package.

    Raises:
        CheckpointError: the file names no network and no factory is given, its weights do not fit, or positions of a
            layer are not finite.
    """
    path = checkpoint.path
    if checkpoint.non_finite_layers:
        lost = checkpoint.non_finite_layers[0]
        raise _bad(path, f"finite positions in {lost}", "NaN or infinity", "Use an earlier checkpoint.")
    if factory is None and checkpoint.architecture is None:
        raise _bad(
            path,
            "the description of a network",
            "weights alone",
            "Name a function that builds it: --model package.module:factory.",
        )
    if factory is not None:
        model = factory()
    else:
        assert checkpoint.architecture is not None
        model = build_architecture(checkpoint.architecture.name, checkpoint.architecture.arguments)
    for layer in checkpoint.irregular:
        _make_layer_irregular(path, model, layer, checkpoint.state.get(f"{layer.name}.sigma"))
    try:
        model.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise _bad(
            path, f"weights of {type(model).__name__}", reason, "Name the network it was written for."
        ) from error
    return model.eval()


def _make_layer_irregular(path: Path, model: nn.Module, layer: IrregularLayer, sigma: Tensor | None) -> None:
    try:
        module = model.get_submodule(layer.name)
    except AttributeError as error:
        raise _bad(
            path, f"a network with a layer {layer.name}", "none", "Name the network it was written for."
        ) from error
    if isinstance(module, IrregularConv2d):
        return
    if type(module) is not nn.Conv2d:
        raise _bad(
            path, f"a Conv2d at {layer.name}", type(module).__name__, "Name the network it was written for."
        )
    irregular = IrregularConv2d.from_conv2d(
        module,
        sharing=cast(Sharing, layer.sharing),
        interpolation=layer.interpolation,
        learn_sigma=sigma is not None and sigma.ndim > 0,
        shift=0.0,
    )
    model.set_submodule(layer.name, irregular)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside of DataParallel, DistributedDataParallel or torch.compile."""
    while isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    inner = getattr(model, "_orig_mod", None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else model


def _agree(layer: IrregularLayer, found: IrregularLayer) -> bool:
    """Whether a description fits the tensors. A single channel's own shape may be called the layer's."""
    same_sharing = layer.sharing == found.sharing or (layer.sharing, found.sharing) == ("channel", "layer")
    same_groups = layer.groups == found.groups or layer.sharing != "channel" or found.sharing == "layer"
    return layer.kernel_size == found.kernel_size and same_sharing and same_groups


def _describe(name: str, layer: IrregularConv2d) -> IrregularLayer:
    return IrregularLayer(
        name=name,
        kernel_size=layer.kernel_size,
        dilation=layer.dilation,
        sharing=layer.sharing,
        groups=layer.groups,
        stride=layer.stride,
        padding=layer.padding,
        interpolation=layer.interpolation,
    )


def _layer_from(entry: dict[str, Any]) -> IrregularLayer:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    if values["sharing"] not in SHARINGS:
        raise ValueError(f"sharing {values['sharing']!r}")
    return IrregularLayer(**values)


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    keep = (
        dtype is None
        or not tensor.is_floating_point()
        or name.rpartition(".")[2] in ("positions", "slots", "sigma")
    )
    return tensor.detach().cpu().contiguous() if keep else tensor.detach().cpu().to(dtype).contiguous()


def _load(path: Path) -> tuple[dict[str, Any], str | None]:
    """The file's content as a dictionary, and this package's description in it, if any."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return {"state_dict": content}, (file.metadata() or {}).get("icnn")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old formats; the error below says it all
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a hostile or broken file provokes
        raise _bad(
            path,
            "tensors and plain values, written by torch.save or safetensors",
            "a file that is broken, cut off, or would run code when loaded",
            "Nothing of it was run. Save the state dict alone: torch.save(model.state_dict(), …).",
        ) from error
    if not isinstance(content, dict):
        raise _bad(path, "a state dict", type(content).__name__, "Save model.state_dict().")
    text = content.pop("icnn", None)
    return content, text if isinstance(text, str) else None


def _parse_header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
        version = int(header["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(path, "a description in JSON", "a broken one", "Write it again.") from error
    if version > FORMAT_VERSION:
        writer = header.get("package_version", "unknown")
        raise _bad(
            path,
            f"format version {FORMAT_VERSION} or older",
            f"version {version} (written by icnn {writer})",
            "Upgrade this package.",
        )
    return header


def _find_state(path: Path, content: dict[str, Any], *, is_foreign: bool) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise _bad(path, "tensors by name", "none", "Save model.state_dict().")
    for prefix in _PREFIXES if is_foreign else ():
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if "positions" in state:  # the network is a single layer
        state = {f"{_BARE}.{name}": tensor for name, tensor in state.items()}
    return state


def _detect_layers(state: Mapping[str, Tensor]) -> tuple[IrregularLayer, ...]:
    """Irregular layers by their tensors alone: positions, slots and a weight that agree."""
    layers = []
    for key, positions in state.items():
        name, _, last = key.rpartition(".")
        weight, slots = state.get(f"{name}.weight"), state.get(f"{name}.slots")
        if last != "positions" or weight is None or slots is None or weight.ndim != 4:
            continue
        taps = weight.shape[2] * weight.shape[3]
        if slots.shape != (taps, 2) or positions.shape[-2:] != (taps, 2) or positions.ndim not in (3, 4):
            continue
        sharing = "none" if positions.ndim == 4 else "layer" if positions.shape[0] == 1 else "channel"
        groups = 1 if positions.ndim == 4 else max(1, positions.shape[0] // weight.shape[1])
        kernel = (weight.shape[2], weight.shape[3])
        interpolation = "gaussian" if f"{name}.sigma" in state else "bilinear"
        dilation = _dilation(slots, kernel)
        layers.append(IrregularLayer(name, kernel, dilation, sharing, groups, interpolation=interpolation))
    return tuple(layers)


def _dilation(slots: Tensor, kernel_size: tuple[int, int]) -> tuple[int, int]:
    extent = (slots.amax(0) - slots.amin(0)).tolist()
    dy, dx = (round(length / (k - 1)) if k > 1 else 1 for length, k in zip(extent, kernel_size, strict=True))
    return dy, dx


def _bad(path: Path, needed: str, got: str, fix: str) -> IcnnError:
    return CheckpointError(str(path), needed=needed, got=got, fix=fix)
