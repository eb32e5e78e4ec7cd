"""How compiled passes lay out what they work on, in numbers rather than bytes: vectors, equal parts, sheets."""

from __future__ import annotations

VECTOR_BYTES = 64


def round_up(value: int, multiple: int) -> int:
    """The next multiple, or `value` if it is one."""
    return -(-value // multiple) * multiple


def even_share(total: int, most: int) -> int:
    """The size of equal parts of `total`, none above `most`."""
    return -(-total // -(-total // min(total, most)))


def lay_out_sheet(job: dict[str, int], margin: int, span: int, itemsize: int) -> dict[str, int]:
    """A sheet (see `sheets`) with `margin` zeros between two phases and `span` rows of zeros above and below."""
    phase_width = -(-job["width"] // job["step_x"])
    pitch = round_up(phase_width + margin, VECTOR_BYTES // itemsize)
    row_length = job["step_x"] * pitch
    size = 2 * margin + (job["height"] + 2 * span) * row_length
    sheet = {"margin": margin, "phase_width": phase_width, "pitch": pitch, "row_length": row_length}
    return sheet | {"origin": margin + span * row_length, "sheet_size": size}
