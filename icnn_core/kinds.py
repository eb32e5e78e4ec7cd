"""What an irregular layer may be: how its weights share shapes, and how it reads between pixels."""

from __future__ import annotations

from typing import Literal, get_args

Sharing = Literal["layer", "channel", "none"]
SHARINGS: tuple[str, ...] = get_args(Sharing)
INTERPOLATIONS = ("bilinear", "gaussian")
