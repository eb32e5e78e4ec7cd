"""Run a compiled pass, where it can serve, on the threads that PyTorch itself computes with, and find its BLAS.

PyTorch's OpenMP threads keep spinning for a while after each parallel region. Threads of one's own would compete with
them for the cores, so a pass is handed to the same team. Every thread calls the pass; they share the work by counting.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

_log = logging.getLogger(__name__)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NARROW = (torch.bfloat16, torch.float16)
"""Held so, computed in float32."""
_HAS_NUMBA = importlib.util.find_spec("numba") is not None


def reasons_against(dtype: torch.dtype, device: torch.device) -> list[str]:
    """Why compiled loops cannot serve a call; empty if they can."""
    reasons = []
    if device.type != "cpu":
        reasons.append(f"it runs on the CPU, and the input lies on {device}")
    if dtype not in DTYPES:
        names = ", ".join(str(known).removeprefix("torch.") for known in DTYPES)
        reasons.append(f"it serves {names}, and the input is {str(dtype).removeprefix('torch.')}")
    if not _HAS_NUMBA:
        reasons.append("Numba is not installed")
    return reasons


@functools.cache
def _torch_library() -> ctypes.CDLL | None:
    folder = Path(str(torch.__file__)).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll"):
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name))
    return None


@functools.cache
def _openmp() -> Any:
    """OpenMP's way to start a team, as compilers call it, or None where PyTorch brings none that has it."""
    function = getattr(_torch_library(), "GOMP_parallel", None)
    if function is not None:
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        function.restype = None
    return function


@functools.cache
def find_gemm(dtype: torch.dtype) -> int:
    """Address of BLAS's sgemm or dgemm (Fortran's convention, 32-bit integers): PyTorch's, else SciPy's."""
    name = {torch.float32: "sgemm", torch.float64: "dgemm"}[dtype]
    function = getattr(_torch_library(), f"{name}_", None)
    if function is not None:
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    from scipy.linalg import cython_blas  # pyright: ignore[reportAttributeAccessIssue]

    capsule = cython_blas.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


def find_pass(code: str, dtype: torch.dtype) -> int:
    """Address of a compiled pass, named "package.module.function"; compiles it where no earlier process has."""
    with _LOCK:  # Numba's settings are the process's, and one compilation serves all threads
        return _find_pass(code, dtype)


@functools.cache
def _find_pass(code: str, dtype: torch.dtype) -> int:
    package, module, name = code.split(".")
    compiler = getattr(importlib.import_module(f"icnn_core.ops.{package}.{module}"), f"compile_{name}")
    stamp = _stamp(package)
    real, lanes = (np.float32, 16) if dtype == torch.float32 else (np.float64, 8)
    function = None
    with _user_cache() as folder:
        if folder is not None:
            function = _compile_cached(
                lambda: compiler(real, lanes, stamp, cache=True), Path(folder), package
            )
    if function is None:
        function = compiler(real, lanes, stamp)
    _KEPT.append(function)
    return function.address


def _compile_cached(compile_it: Callable[[], Any], folder: Path, package: str) -> Any:
    """The function, of the cache if it is there; a damaged cache is removed. None if there can be none."""
    try:
        return compile_it()
    except Exception as error:
        if isinstance(error, OSError) or "cannot cache" in str(error):  # no folder that Numba may write to
            return None
        # whatever a file that was cut off provokes in unpickling
        _log.warning("%s was damaged: compiled anew (%s)", folder, type(error).__name__)
    own = f"{package}_*/*.nb[ci]"  # Numba's name for what the package's folder holds
    for kept in folder.glob(own):
        with contextlib.suppress(OSError):
            kept.unlink()
    try:
        return compile_it()
    except Exception:
        return None


@contextmanager
def _user_cache() -> Iterator[str | None]:
    """Numba keeps what it compiles in the user's cache folder, or in NUMBA_CACHE_DIR; gives it, or None for no user.

    Its default lies beside the sources, where uninstalling the package would leave a folder of that name behind, which
    Python then imports in place of the package.
    """
    from numba.misc.appdirs import AppDirs

    config: Any = importlib.import_module("numba.core.config")
    given = config.CACHE_DIR
    folder = given or AppDirs("icnn", appauthor=False).user_cache_dir
    if not given and not Path(folder).is_absolute():  # no home: "~/.cache" would be made in the cwd
        yield None
        return
    config.CACHE_DIR = folder
    try:
        yield folder
    finally:
        config.CACHE_DIR = given


def _stamp(package: str) -> int:
    """A number that changes with any of the sources that a package's compiled passes are made of."""
    here = Path(__file__).parent
    sources = [path for folder in (here, here.parent / package) for path in sorted(folder.glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    return int.from_bytes(digest.digest()[:7])


_KEPT: list[Any] = []  # compiled code is freed with its object
_LOCK = threading.Lock()


def run(address: int, job: np.ndarray, threads: int) -> None:
    """Call the compiled pass at `address` with its job, on so many threads; returns when all are done."""
    start_team = _openmp()
    where = job.ctypes.data
    if threads > 1 and start_team is not None:
        start_team(address, where, threads, 0)
        return
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
    if threads == 1:
        call(where)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, [where] * threads))
