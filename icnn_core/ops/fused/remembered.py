"""What was found out on this machine, kept between processes: small files beside Triton's own cache."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch
import triton

import icnn_core
from icnn_core.errors import DataError
from icnn_core.files import write_text


class Remembered:
    """Texts by key, in memory and in a file that several processes may add to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[str, str] | None = None

    @property
    def file(self) -> Path:
        return Path(triton.knobs.cache.dir) / f"icnn-{self._name}.json"  # pyright: ignore[reportAttributeAccessIssue]

    def get(self, key: str) -> str | None:
        if self._known is None:
            self._known = _read(self.file)
        return self._known.get(key)

    def put(self, key: str, text: str) -> None:
        """Add one. A folder that cannot be written only means finding it out again."""
        self._known = {**_read(self.file), **(self._known or {}), key: text}
        if not self.file.is_absolute():  # no home: "~" would be made in the working folder
            return
        try:
            write_text(self.file, json.dumps(self._known, indent=1), DataError)
        except DataError:
            return


def _read(file: Path) -> dict[str, str]:
    """Empty if the file is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {key: text for key, text in found.items() if isinstance(text, str)}
    except (OSError, ValueError, AttributeError):
        return {}


@functools.cache
def where(device: torch.device) -> str:
    """What such knowledge holds for: the GPU, and the versions of torch, Triton and this package."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return "|".join((name, torch.__version__, triton.__version__, icnn_core.__version__))
