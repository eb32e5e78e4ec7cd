"""What decides a folder's numbers: it is kept with them, and compared before anything there is gone on with.

An identity is a plain dictionary: arguments, digests of weights and files, data sets as `describe_data` tells them.
Every name is always there, with None where nothing is. Paths are no part of it: what only moved is the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icnn_core import __version__
from icnn_core.arrays import is_tensor, type_of
from icnn_core.errors import IcnnError
from icnn_core.files import explain, write_text

if TYPE_CHECKING:
    from torch import Tensor, nn

_log = logging.getLogger(__name__)
_VERSION = "version"
_NOTHING = object()
_SHOWN = 60  # characters of a value in an error


def digest_file(path: str | Path) -> str:
    """A short SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest_weights(network: nn.Module | Mapping[str, Tensor]) -> str:
    """A short SHA-256 of a network as it is in memory, whatever has become of its file.

    Of a state dict: names, types, shapes and values of the tensors, in any order. Of a module also what no tensor
    holds: its `architecture`, or else the plain attributes of its modules (strides, dilations, …).
    """
    import torch

    if not isinstance(network, torch.nn.Module):
        return digest_content(network)
    return digest_content([network.state_dict(), json.dumps(_structure(network), default=str)])


def digest_content(content: Any) -> str:
    """A short SHA-256 of tensors and plain values, however nested: types, shapes and values, names in any order."""
    found = hashlib.sha256()
    for part in _parts(content):
        found.update(part)
    return found.hexdigest()[:16]


def describe_data(data: Any, count: int | None = None) -> dict[str, Any]:
    """A data set as an identity tells it: its name, its classes in their order, its images by name and size.

    Args:
        data: a `SegmentationDataset`; one without files is told by its first and its last image.
        count: only the first so many images are used.
    """
    length = len(data) if count is None else min(count, len(data))
    pairs: Sequence[Any] | None = getattr(data, "pairs", None)
    if pairs is not None:
        paths = [path for pair in pairs[:length] for path in (pair.image, pair.mask)]
        # A file that is missing is an error when it is read.
        files = [[path.name, path.stat().st_size if path.is_file() else None] for path in paths]
        content = [files, sorted(getattr(getattr(data, "labels", None), "ids", {}).items())]
        images = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    else:
        ends = sorted({0, length - 1}) if length else []
        images = digest_weights(
            {f"{i} {kind}": tensor for i in ends for kind, tensor in enumerate(data[i])}  # pyright: ignore
        )
    return {"name": data.name, "classes": list(data.classes), "number": length, "images": images}


def check_identity(
    where: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    error: type[IcnnError],
    fix: str = "Repeat the command that it was made with, choose another --out, or --overwrite.",
) -> None:
    """Nothing, if the numbers in `where`, whose identity is `before`, are those that `now` would give.

    What an older version did not record, and that another version wrote them, is said and not refused.

    Raises:
        error: they are not; it names what differs.
    """
    old, new = _flat(before), _flat(now)
    written_by = old.pop(_VERSION, None)
    new.pop(_VERSION, None)
    if written_by not in (None, __version__):
        _log.warning("%s was written by icnn %s; this is %s", where, written_by, __version__)
    unsaid = sorted(set(now) - set(before) - {_VERSION})
    if unsaid:
        _log.warning("%s does not say its %s: taken to be the same", where, ", ".join(unsaid))
    keys = [key for key in new if key.partition(".")[0] not in unsaid]
    keys += [key for key in old if key not in new]
    differ = [key for key in keys if old.get(key, _NOTHING) != new.get(key, _NOTHING)]
    if differ:
        first = differ[0]
        needed = f"what it was made with, {first}={_shown(old.get(first))}"
        got = f"others for {', '.join(differ)} ({first}={_shown(new.get(first))})"
        raise error(str(where), needed=needed, got=got, fix=fix)


def keep_identity(path: Path, identity: Mapping[str, Any], error: type[IcnnError]) -> None:
    """Write `identity` to the JSON file `path`, or compare it with what stands there, as `check_identity` does.

    Raises:
        error: another one stands there, what stands there is none, or the file cannot be written.
    """
    if not path.exists():
        write_text(path, json.dumps(_plain(identity) | {_VERSION: __version__}, indent=1) + "\n", error)
        return
    check_identity(path.parent, read_identity(path, error), identity, error)


def read_identity(path: Path, error: type[IcnnError]) -> dict[str, Any]:
    """What `keep_identity` wrote.

    Raises:
        error: the file holds no identity.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as cause:
        needed = "what its folder was made with, in JSON"
        raise error(str(path), needed=needed, got=explain(cause)[0], fix="Remove the folder.") from cause


def _parts(content: Any) -> Iterator[bytes]:
    if is_tensor(content):
        yield f"torch.{type_of(content)} {tuple(content.shape)}".encode()
        yield bytes(_bytes(content))
    elif isinstance(content, Mapping):
        yield f"names {len(content)}".encode()
        for name, value in sorted(content.items(), key=lambda item: str(item[0])):
            yield json.dumps(str(name)).encode()
            yield from _parts(value)
    elif isinstance(content, list | tuple):
        yield f"values {len(content)}".encode()
        for value in content:
            yield from _parts(value)
    else:
        yield repr(content).encode()


def _bytes(tensor: Tensor | np.ndarray) -> bytes | memoryview:
    if isinstance(tensor, np.ndarray):
        return tensor.tobytes()
    import torch

    tensor = tensor.detach()
    if tensor.is_meta:
        return b""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _structure(network: nn.Module) -> Any:
    from torch import nn

    architecture = getattr(network, "architecture", None)
    if is_dataclass(architecture) and not isinstance(architecture, type):
        return asdict(architecture)
    return [
        [
            name,
            type(module).__name__,
            {key: value for key, value in vars(module).items() if _is_setting(key, value)},
        ]
        for name, module in nn.Module.named_modules(network)
    ]


def _is_setting(key: str, value: Any) -> bool:
    values = value if isinstance(value, tuple | list) else (value,)
    named = not key.startswith("_") and key not in ("training", "inplace")
    return named and all(isinstance(each, int | float | str | None) for each in values)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists, keys text."""
    return json.loads(json.dumps(value, default=str))


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Nested names with dots: {"data": {"classes": …}} is "data.classes"."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return dict(walk(_plain(identity), ""))


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
