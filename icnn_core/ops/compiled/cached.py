"""C functions that Numba compiles, and finds again on disk by a key that says all they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature


class _Cache(FunctionCache):
    """Numba's own key is of a function's code and closure alone: blind to what it calls in other files, and another in
    every process where compiled functions are a part of the closure."""

    def __init__(self, function: Any, key: tuple[Any, ...]) -> None:
        super().__init__(function)
        self._key = key

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return sig, codegen.magic_tuple(), self._key


def c_function(signature: Any, *key: Any, cache: bool = False) -> Callable[[Any], Any]:
    """`numba.cfunc(signature)`, kept on disk with `cache`.

    Args:
        key: what decides the code beside the function's own text: constants, and a stamp of the sources.
    """

    def compile_it(function: Any) -> Any:
        made = CFunc(function, normalize_signature(signature), locals={}, options={})
        if cache:
            made._cache = _Cache(function, tuple(map(str, key)))  # pyright: ignore[reportAttributeAccessIssue]
        made.compile()
        return made

    return compile_it
