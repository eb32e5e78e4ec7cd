"""Files as people have them, and what can be wrong with them: cut off, bits flipped, a structure that is none."""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Draw = random.Random


def _layer(**changes: Any) -> dict[str, torch.Tensor]:
    from icnn_core.nn import IrregularConv2d

    state = dict(nn.Sequential(IrregularConv2d(3, 4, 3, dilation=2)).state_dict())
    return state | changes


def write_whole(kind: str, path: Path) -> None:
    """A file as programs write it."""
    from icnn_core.checkpoint import write_checkpoint
    from icnn_core.models.deeplab import deeplab_largefov
    from icnn_core.surgery import make_irregular
    from icnn_viz.positions import to_cloud

    torch.manual_seed(0)
    if kind in ("own.pt", "own.safetensors"):
        network = deeplab_largefov("tiny", 3)
        make_irregular(network, irregular="classifier", shift=0.3)
        names = ("sky", "road", "car")
        write_checkpoint(path, network, classes=names, palette=[(0, 0, 0)] * 3, dataset={"size": [24, 32]})
    elif kind == "old.pt":
        torch.save(_layer(), path, _use_new_zipfile_serialization=False)
    elif kind == "foreign.pt":
        torch.save({"model": _layer(), "epoch": 3}, path)
    elif kind == "foreign.safetensors":
        from safetensors.torch import save_file

        save_file(_layer(), path)
    elif kind == "taps.npz":
        np.savez(path, positions=np.random.default_rng(0).normal(size=(5, 9, 2)), dilation=(2, 2))
    elif kind == "packed.npz":
        np.savez_compressed(path, positions=np.random.default_rng(0).normal(size=(5, 9, 2)))
    else:
        cloud = to_cloud(np.random.default_rng(0).normal(size=(5, 9, 2)), layer="a")
        cloud.to_frame().to_csv(path, index=False)


WHOLE = (
    "own.pt",
    "own.safetensors",
    "old.pt",
    "foreign.pt",
    "foreign.safetensors",
    "taps.npz",
    "packed.npz",
    "t.csv",
)


def cut(path: Path, draw: Draw) -> str:
    """Keep a part of the file's beginning."""
    data = path.read_bytes()
    kept = draw.randrange(len(data))
    path.write_bytes(data[:kept])
    return f"cut off at {kept} of {len(data)}"


def flip(path: Path, draw: Draw) -> str:
    """Flip some bits, more often near the beginning and the end, where structure is."""
    data = bytearray(path.read_bytes())
    places = []
    for _ in range(draw.choice((1, 1, 2, 5, 50))):
        end = draw.choice((min(len(data), 400), len(data), len(data)))
        place = draw.randrange(end) if draw.random() < 0.7 else len(data) - 1 - draw.randrange(end)
        data[place] ^= 1 << draw.randrange(8)
        places.append(place)
    path.write_bytes(bytes(data))
    return f"bits flipped at {places[:3]}"


def _own_with(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A checkpoint of this package whose description is changed."""

    def write(path: Path) -> None:
        write_whole("own.pt", path)
        content = torch.load(path, weights_only=True)
        header = json.loads(content["icnn"])
        change(header)
        content["icnn"] = json.dumps(header)
        torch.save(content, path)

    return write


def _odd(draw: Draw) -> Any:
    """A value that no description holds."""
    return draw.choice(
        (None, True, -1, 0, 3.5, 10**400, 1e308, "text", "", [], {}, [[]], [1], [0, 0], [-1, 3], ["a", "b"], {"a": [1]},
         [10**9, 10**9], float("nan"), float("inf"), ["layer"] * 4, "\x1b]0;title\x07", [{}], 65536)
    )  # fmt: skip


def _odd_tensor(draw: Draw, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of another type, layout, size or value."""
    kinds: list[Callable[[], torch.Tensor]] = [
        lambda: torch.full(shape, float("nan")),
        lambda: torch.full(shape, float("inf")),
        lambda: torch.full(shape, 1e300, dtype=torch.float64),
        lambda: torch.zeros(
            shape, dtype=draw.choice((torch.bool, torch.int64, torch.uint16, torch.complex64))
        ),
        lambda: torch.zeros(shape).to(draw.choice((torch.float8_e4m3fn, torch.float8_e5m2))),
        lambda: torch.zeros(shape).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.qint8),
        lambda: torch.zeros(shape, device="meta"),
        lambda: torch.zeros(0, *shape[1:]),
        lambda: torch.zeros(*shape[:-1], 0),
        lambda: torch.zeros(()),
        lambda: torch.zeros(1).expand(10**6, 10**6),
        lambda: torch.zeros(1).expand(10**4, 10**4, *shape),
        lambda: torch.zeros(draw.randrange(1, 5), *shape),
    ]
    return draw.choice(kinds)()


def structure(path: Path, draw: Draw) -> str:
    """Write a file that no program writes; its name may change with its kind."""
    name, write = draw.choice(_structures(draw))
    write(path)
    return name


def _structures(draw: Draw) -> list[tuple[str, Callable[[Path], Any]]]:
    keys = (
        "irregular",
        "architecture",
        "classes",
        "palette",
        "ignore_index",
        "dataset",
        "metrics",
        "format_version",
    )
    key, odd = draw.choice(keys), _odd(draw)
    part = draw.choice(
        ("name", "kernel_size", "dilation", "sharing", "groups", "stride", "padding", "interpolation")
    )
    argument = draw.choice(("backbone", "num_classes", "classifier_dilation", "dropout"))
    tensor = draw.choice(("0.positions", "0.slots", "0.weight", "0.bias"))
    shape = tuple(_layer()[tensor].shape)
    deep = "[" * draw.choice((2000, 100_000))

    def many(path: Path) -> None:
        count = draw.choice((3000, 200_000))
        one = {
            "weight": torch.zeros(1, 1, 1, 1),
            "positions": torch.zeros(1, 1, 2),
            "slots": torch.zeros(1, 2),
        }
        torch.save({f"l{n}.{key}": value for n in range(count) for key, value in one.items()}, path)

    def bomb(path: Path) -> None:
        torch.save(_layer(), path)
        with zipfile.ZipFile(path) as archive:
            members = {each.filename: archive.read(each) for each in archive.infolist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, data in members.items():
                if "/data/" not in name:
                    archive.writestr(name, data)
            _write_zeros(archive, next(name for name in members if "/data/" in name), b"")

    def packed(path: Path) -> None:
        header = io.BytesIO()
        told = {"descr": "<f8", "fortran_order": False, "shape": (1 << 27, 9, 2)}
        np.lib.format.write_array_header_1_0(header, told)
        with zipfile.ZipFile(_renamed(path, ".npz"), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _write_zeros(archive, "positions.npy", header.getvalue())

    def raw_text(text: str) -> Callable[[Path], Any]:
        return lambda path: torch.save({"icnn": text, "state_dict": _layer(), "training": {}}, path)

    def arrays(**changes: Any) -> Callable[[Path], Any]:
        given = {"positions": np.zeros((5, 9, 2))} | changes
        return lambda path: np.savez(_renamed(path, ".npz"), allow_pickle=True, **given)

    def header_only(path: Path) -> None:
        text = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode()
        _renamed(path, ".safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))

    def rows(path: Path) -> None:
        write_whole("t.csv", _renamed(path, ".csv"))
        lines = _renamed(path, ".csv").read_text().splitlines()
        number = draw.randrange(len(lines))
        lines[number] = draw.choice(
            ("", ",", "\x00", '"', lines[number] + ",1", lines[number].replace("0", "x", 1))
        )
        _renamed(path, ".csv").write_text("\n".join(lines))

    return [
        (f"{key} is {str(odd)[:20]}", _own_with(lambda header: header.update({key: odd}))),
        (f"without {key}", _own_with(lambda header: header.pop(key))),
        (f"a layer's {part} is {str(odd)[:20]}", _own_with(lambda header: header["irregular"][0].update({part: odd}))),
        (f"{argument} is {str(odd)[:20]}", _own_with(
            lambda header: header["architecture"]["arguments"].update({argument: odd}))),
        ("images of 30,000²", _own_with(lambda header: header["dataset"].update(size=[30000, 30000]))),
        ("65,536 classes of a ResNet-101", _own_with(lambda header: header["architecture"].update(
            arguments={"backbone": "resnet101", "num_classes": 65536}))),
        ("groups that contradict", _own_with(lambda header: header["irregular"][0].update(groups=7))),
        ("deep JSON", raw_text(deep)),
        ("no JSON", raw_text(draw.choice(("", "null", "3", "[]", '{"format_version": 1e999}', "\x00")))),
        (f"{tensor} odd", lambda path: torch.save(_layer(**{tensor: _odd_tensor(draw, shape)}), path)),
        (f"{tensor} odd again", lambda path: torch.save({"model": _layer(**{tensor: _odd_tensor(draw, shape)})}, path)),
        ("no dictionary", lambda path: torch.save(draw.choice(([], 3, "text", {3: torch.zeros(2)})), path)),
        ("many layers", many),
        ("a packed .pt", bomb),
        ("a packed .npz", packed),
        ("an array under .npz", lambda path: _save_array(_renamed(path, ".npz"))),
        ("an archive of text", lambda path: _write_zip(_renamed(path, ".npz"), {"positions.npy": b"no header"})),
        ("odd positions", arrays(positions=draw.choice(_odd_arrays()))),
        ("odd weights", arrays(weights=draw.choice(_odd_arrays()))),
        ("odd slots", arrays(slots=draw.choice(_odd_arrays()))),
        ("an odd size", arrays(kernel_size=draw.choice(_odd_arrays()))),
        ("a header that promises", header_only),
        ("a damaged row", rows),
    ]  # fmt: skip


def _write_zeros(archive: zipfile.ZipFile, name: str, head: bytes) -> None:
    """A member of more than a gigabyte of zeros, which pack well."""
    with archive.open(name, "w", force_zip64=True) as member:
        member.write(head)
        for _ in range(65):
            member.write(bytes(1 << 24))


def _odd_arrays() -> list[np.ndarray]:
    return [
        np.array(["a"]), np.zeros((5, 9, 2), complex), np.zeros((5, 9, 2), bool), np.full((5, 9, 2), 1e300),
        np.zeros(0),
        np.full((5, 9, 2), np.nan), np.zeros((0, 9, 2)), np.array(3), np.zeros((5, 9, 3)), np.array([10**9, 10**9]),
        np.array([0, -3]), np.zeros((1,) * 20), np.zeros(3, dtype="V8"),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ]  # fmt: skip


def _renamed(path: Path, suffix: str) -> Path:
    """The file that is read in the end: the drawn one under the suffix of its kind."""
    return path.with_suffix(suffix)


def _save_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((5, 9, 2)))


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def make_file(folder: Path, number: int, seed: int) -> tuple[Path, str]:
    """File `number` of a seed, and what is wrong with it."""
    draw = random.Random(f"{seed} {number}")
    torch.manual_seed(number)
    damage = (cut, flip, structure)[number % 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if damage is structure:
            words = structure(folder / "file.pt", draw)
        else:
            kind = draw.choice(WHOLE)
            write_whole(kind, folder / kind)
            words = f"{kind} {damage(folder / kind, draw)}"
    return next(iter(sorted(folder.iterdir()))), words
