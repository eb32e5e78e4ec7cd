"""One file -> what it holds, if that is tensors and plain values, and no more of them than the file itself can hold."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icnn_core.errors import CheckpointError
from icnn_core.files import need_regular_file

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_TEXT = 1 << 24
"""Bytes of a description or a header, at most."""
_NEEDS = re.compile(r"GLOBAL ([\w.]{1,120})")  # in what torch says of objects that it does not load
_MOST_TENSORS = 100_000
_MOST_STEPS = 1_000_000  # of unpickling, some 30 a tensor: a second or two
_LARGEST_PICKLE = 1 << 25  # bytes
_MOST_UNPACKED = 1 << 26  # bytes that a compressed archive may unpack to, whatever its own size
_MOST_REPEATED = 1 << 20  # elements of a tensor that are more than its memory holds (expanded ones)
_NUMPYS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
_PLAIN = (argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath)  # beyond torch's own list: data alone


def load_file(path: Path, who: str = "", *, arrays: bool = False) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The content of a `.safetensors` file, or one of torch's, and a `.safetensors` file's metadata.

    Args:
        who: refuses, in errors; by default the path.
        arrays: of a `.safetensors` file give numpy's arrays, where it has their types, and load no torch.

    Raises:
        CheckpointError: no regular file, empty, broken, no dictionary; it would run code; it declares more tensors,
            elements or steps than such a file may; tensors that are no plain numbers in memory.
    """
    who = who or str(path)
    size = _size_of(path, who)
    if size == 0:
        raise _refuse(who, "a checkpoint", "an empty file", "It was probably cut off: write it again.")
    try:
        if path.suffix.lower() == ".safetensors":
            content, metadata = _load_safetensors(path, size, arrays)
        else:
            content, metadata = _load_torch(path, size), {}
            _check_tensors(content, size)
    except _TooMuch as error:
        needed = "plain numbers, and no more of them than such a file may hold"
        raise _refuse(who, needed, str(error), "Write it again.") from error
    except Exception as error:  # whatever a hostile or broken file provokes
        needed = "tensors and plain values, written by torch.save or safetensors"
        got = _recognise(path, error) or "a file that is broken, cut off, or would run code when loaded"
        fix = "Nothing of it was run. Save the state dict alone: torch.save(model.state_dict(), …)."
        raise _refuse(who, needed, got, fix) from error
    if not isinstance(content, dict):
        raise _refuse(who, "a state dict", type(content).__name__, "Save model.state_dict().")
    return content, metadata


class _TooMuch(Exception):
    """A file that declares more than it may; the text says what."""


def _size_of(path: Path, who: str) -> int:
    if os.path.isdir(path):
        check_no_parts(path, who)
        raise _refuse(who, "a file", "a folder", "Name a file in it, e.g. last.pt.")
    return need_regular_file(path, who, CheckpointError).stat().st_size


def check_no_parts(folder: Path, who: str = "") -> None:
    """Raise CheckpointError for a folder in which several processes wrote a part each, with what joins them."""
    if os.path.isfile(folder / ".metadata"):
        fix = (
            "Join its parts: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER net.pt."
        )
        raise _refuse(who or str(folder), "a file", "a checkpoint of several processes", fix)
    if os.path.isfile(folder / "zero_to_fp32.py"):
        fix = "Join its parts by the zero_to_fp32.py that lies beside them, and give the file that it writes."
        raise _refuse(who or str(folder), "a file", "a checkpoint of DeepSpeed", fix)


def _recognise(path: Path, error: Exception) -> str | None:
    """What a file is that is no state dict, by its first bytes or members, or by what loading it needs; or None."""
    with contextlib.suppress(OSError, zipfile.BadZipFile, ValueError), path.open("rb") as file:
        if file.read(8) == b"\x89HDF\r\n\x1a\n":
            return "an HDF5 file, as Keras writes"
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                members = {name.rpartition("/")[2] for name in archive.namelist()}
            if "constants.pkl" in members:
                return "a TorchScript program"
            if "archive_format" in members:
                return "an exported program"
            if "config.json" in members:
                return "a Keras archive"
    needs = _NEEDS.search(str(error))
    return f"a pickled object that needs the code of {needs[1]}" if needs else None


def _load_safetensors(path: Path, size: int, arrays: bool) -> tuple[dict[str, Any], Mapping[str, str]]:
    from safetensors import safe_open

    from icnn_core.weights.names import by_numbers

    with path.open("rb") as file:
        (header,) = struct.unpack("<Q", file.read(8))
    if header > size:
        raise ValueError("cut off")
    if header > LARGEST_TEXT:
        raise _TooMuch(f"a header of {header:,} bytes")
    with safe_open(path, framework="np" if arrays else "pt") as file:
        names = sorted(file.keys(), key=by_numbers)
        if len(names) > _MOST_TENSORS:
            raise _TooMuch(f"{len(names):,} tensors")
        if arrays and not all(file.get_slice(name).get_dtype() in _NUMPYS for name in names):
            return _load_safetensors(path, size, arrays=False)
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def _load_torch(path: Path, size: int) -> Any:
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                unpacked = sum(member.file_size for member in members)
                if unpacked > max(size, _MOST_UNPACKED):
                    raise _TooMuch(f"{unpacked:,} bytes packed into {size:,}")
                if len(members) > _MOST_TENSORS:
                    raise _TooMuch(f"{len(members):,} tensors")
                for member in members:
                    if member.filename.rpartition("/")[2] == "data.pkl":
                        if member.file_size > _LARGEST_PICKLE:
                            raise _TooMuch(f"{member.file_size:,} bytes beside its tensors")
                        _check_steps(io.BytesIO(archive.read(member)), 1)
        else:
            file.seek(0)
            _check_steps(file, 5)  # magic number, protocol, system, content, keys of the tensors
    import torch

    with warnings.catch_warnings(), torch.serialization.safe_globals([*_PLAIN, *_numpy_scalars()]):
        warnings.simplefilter("ignore")  # on old formats; the error says it all
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_steps(stream: Any, pickles: int) -> None:
    """Count what unpickling would do, without doing it."""
    steps = 0
    for _ in range(pickles):
        for _ in pickletools.genops(stream):
            steps += 1
            if steps > _MOST_STEPS:
                raise _TooMuch(f"more than {_MOST_STEPS:,} values")


def _numpy_scalars() -> list[Any]:
    """What a number of numpy's needs, such as programs keep beside their weights."""
    import numpy as np

    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")]
    return [np.dtype, np.float64(0).__reduce__()[0], *kinds]


def _check_tensors(content: Any, size: int) -> None:
    """Refuse what is no plain numbers in memory, or more of them than the file has bytes for."""
    import torch

    seen: dict[int, int] = {}
    for name, tensor in _tensors_in(content):
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantised" if tensor.is_quantized else f"{tensor.layout} on {tensor.device.type}"
            raise _TooMuch(f"{name or 'a tensor'} that is no plain numbers ({kind})")
        held = tensor.untyped_storage().nbytes()
        if tensor.numel() > _MOST_REPEATED and tensor.numel() * tensor.element_size() > held:
            raise _TooMuch(f"{name or 'a tensor'} of {tensor.numel():,} elements in {held:,} bytes")
        seen[tensor.untyped_storage().data_ptr()] = held
    if sum(seen.values()) > max(size, _MOST_UNPACKED):
        raise _TooMuch(f"{sum(seen.values()):,} bytes of tensors in a file of {size:,}")


def _tensors_in(content: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors, however deep, with the last name on the way."""
    from torch import Tensor

    stack: list[tuple[str, Any]] = [("", content)]
    visited: set[int] = set()
    while stack:
        name, value = stack.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple) and id(value) not in visited:
            visited.add(id(value))
            items = value.items() if isinstance(value, dict) else ((name, item) for item in value)
            stack.extend((str(key)[:200], item) for key, item in items)


def _refuse(who: str, needed: str, got: str, fix: str) -> CheckpointError:
    return CheckpointError(who, needed=needed, got=got, fix=fix)
