"""C functions that Numba compiles, and finds again on disk by a key that says all they are made of."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable
from typing import Any

from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.registry import cpu_target
from numba.core.sigutils import normalize_signature


class _Cache(FunctionCache):
    """Numba's own key is of a function's code and closure alone: blind to what it calls in other files, and another in
    every process where compiled functions are a part of the closure.

    Numba gives the files of one function running numbers, in an index that processes which compile different things of
    it at once write over each other's: then a key leads to another one's code. Here each key has files of its own.
    """

    def __init__(self, function: Any, signature: Any, key: tuple[Any, ...]) -> None:
        super().__init__(function)
        self._key = key
        context: Any = cpu_target.target_context
        machine = context.codegen().magic_tuple()
        own = hashlib.sha256(repr((signature, machine, key)).encode()).hexdigest()[:16]
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{own}",
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return sig, codegen.magic_tuple(), self._key


def c_function(signature: Any, *key: Any, cache: bool = False) -> Callable[[Any], Any]:
    """`numba.cfunc(signature)`, kept on disk with `cache`.

    Args:
        key: what decides the code beside the function's own text: constants, and a stamp of the sources.
    """

    def compile_it(function: Any) -> Any:
        # Numba names what it compiles by counting from 1 in every process, and the linker takes the first of two things
        # of one name: code that two other processes kept would run in each other's place.
        FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))
        sig = normalize_signature(signature)
        made = CFunc(function, sig, locals={}, options={})
        if cache:
            made._cache = _Cache(function, sig, tuple(map(str, key)))  # pyright: ignore[reportAttributeAccessIssue]
        made.compile()
        return made

    return compile_it
