"""What the wheel ships: a small trained pair of networks and a sample image."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from icnn_core.errors import NameNotFoundError, nearest_names


def builtin_path(name: str) -> Path:
    """The path of a shipped file.

    Raises:
        NameNotFoundError: no such file is shipped; the nearest names are listed.
    """
    path = Path(str(files(__name__) / name))
    if not path.is_file():
        shipped = sorted(
            p.name for p in path.parent.iterdir() if p.suffix in {".safetensors", ".png", ".json"}
        )
        raise NameNotFoundError(
            "builtin_path", needed="a file that the package ships", got=name, fix=nearest_names(name, shipped)
        )
    return path
