"""Tensors by name from files that nobody vouches for: bounded before they are read, never run, found in any wrapper."""

from icnn_core.weights.folders import find_weights, is_index, load_shards
from icnn_core.weights.loading import LARGEST_TEXT, check_no_parts, load_file
from icnn_core.weights.names import (
    StateDict,
    by_numbers,
    describe_mismatch,
    describe_names,
    find_heads,
    find_state_dict,
    first_parts,
    shared_prefix,
    strip_prefixes,
)

__all__ = [
    "LARGEST_TEXT",
    "StateDict",
    "by_numbers",
    "check_no_parts",
    "describe_mismatch",
    "describe_names",
    "find_heads",
    "find_state_dict",
    "find_weights",
    "first_parts",
    "is_index",
    "load_file",
    "load_shards",
    "shared_prefix",
    "strip_prefixes",
]
