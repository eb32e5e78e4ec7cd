"""Vectors of one cache line, and bare pointers, for Numba.

Rows of an image are short (41 pixels in DeepLab's deep layers), so an automatically vectorised loop spends its time in
the scalar remainder. Here a row is a few whole vectors; what overhangs is masked or overwritten. Pointers instead of
arrays, because arrays handed from function to function are counted atomically.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from icnn_core.ops.compiled.layout import VECTOR_BYTES

_INT32 = ir.IntType(32)
instruction: Any = intrinsic  # what it decorates is called with one argument less than it is written with


class Vector(types.Type):
    """As many numbers of one type as fill a cache line. Knows +, -, * and the functions below."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.lanes = dtype, VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _define_operator(symbol: Any, instruction: str) -> None:
    @infer_global(symbol)  # pyright: ignore[reportOptionalCall]
    class _Template(AbstractTemplate):  # pyright: ignore[reportUnusedClass]
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")


def _llvm(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _suffix(vector: Any) -> str:
    return f"v{vector.lanes}f{vector.dtype.bitwidth}"


def call_fma(builder: Any, vector: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c of vectors, rounded once where the machine can."""
    kind = a.type
    return builder.call(_llvm(builder, f"llvm.fmuladd.{_suffix(vector)}", kind, kind, kind, kind), (a, b, c))


def spread(builder: Any, scalar: Any, lanes: int) -> Any:
    """A vector of one number."""
    nothing = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(nothing, scalar, _INT32(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes))


def lanes_before(builder: Any, count: Any, lanes: int) -> Any:
    """A mask of the lanes before `count`."""
    lane = ir.Constant(ir.VectorType(_INT32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", lane, spread(builder, builder.trunc(count, _INT32), lanes))


def vector_at(builder: Any, pointer: Any, index: Any, vector_type: Any) -> Any:
    """pointer + index as a pointer to vectors."""
    return builder.bitcast(builder.gep(pointer, [index]), vector_type.as_pointer())


@instruction
def pointer(typingctx: Any, address: Any, dtype: Any) -> Any:
    """An address as a pointer to numbers of `dtype`."""
    result = types.CPointer(dtype.dtype)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(types.int64, dtype), lower


@instruction
def advance(typingctx: Any, start: Any, count: Any) -> Any:
    """The pointer `count` elements further on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return start(start, types.intp), lower


@instruction
def get(typingctx: Any, start: Any, index: Any) -> Any:
    """start[index]"""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(builder.gep(args[0], [args[1]]))

    return start.dtype(start, types.intp), lower


@instruction
def put(typingctx: Any, start: Any, index: Any, value: Any) -> Any:
    """start[index] = value"""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(start, types.intp, start.dtype), lower


@instruction
def fetch_and_add(typingctx: Any, start: Any, index: Any, step: Any) -> Any:
    """start[index] before `step` was added to it, atomically."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", builder.gep(args[0], [args[1]]), args[2], "monotonic")

    return types.int64(start, types.intp, types.int64), lower


@instruction
def load(typingctx: Any, start: Any, index: Any) -> Any:
    """The vector at start[index:]."""
    vector: Any = Vector(start.dtype)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = vector_at(builder, args[0], args[1], context.get_value_type(vector))
        return builder.load(place, align=vector.dtype.bitwidth // 8)

    return vector(start, types.intp), lower


@instruction
def store(typingctx: Any, start: Any, index: Any, value: Any) -> Any:
    """start[index:] = the vector `value`."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = vector_at(builder, args[0], args[1], args[2].type)
        builder.store(args[2], place, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(start, types.intp, value), lower


@instruction
def load_first(typingctx: Any, start: Any, index: Any, count: Any) -> Any:
    """The vector at start[index:], zero from lane `count` on; memory behind that is not touched."""
    vector: Any = Vector(start.dtype)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        place, mask = vector_at(builder, args[0], args[1], kind), lanes_before(builder, args[2], vector.lanes)
        name = f"llvm.masked.load.{_suffix(vector)}.p0"
        function = _llvm(builder, name, kind, place.type, _INT32, mask.type, kind)
        zeros = ir.Constant(kind, [0.0] * vector.lanes)
        return builder.call(function, [place, _INT32(vector.dtype.bitwidth // 8), mask, zeros])

    return vector(start, types.intp, types.intp), lower


@instruction
def store_first(typingctx: Any, start: Any, index: Any, count: Any, value: Any) -> Any:
    """start[index:] = the lanes of `value` before `count`; memory behind that is not touched."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = vector_at(builder, args[0], args[1], args[3].type)
        mask = lanes_before(builder, args[2], value.lanes)
        name = f"llvm.masked.store.{_suffix(value)}.p0"
        function = _llvm(builder, name, ir.VoidType(), args[3].type, place.type, _INT32, mask.type)
        builder.call(function, [args[3], place, _INT32(value.dtype.bitwidth // 8), mask])
        return context.get_dummy_value()

    return types.void(start, types.intp, types.intp, value), lower


@instruction
def splat(typingctx: Any, scalar: Any) -> Any:
    """A vector of one number."""
    vector: Any = Vector(scalar)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return spread(builder, args[0], vector.lanes)

    return vector(scalar), lower


@instruction
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once where the machine can."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_fma(builder, a, *args)

    return a(a, b, c), lower


@instruction
def choose_first(typingctx: Any, count: Any, value: Any, other: Any) -> Any:
    """The lanes of `value` before `count`, those of `other` from there on."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(lanes_before(builder, args[0], value.lanes), args[1], args[2])

    return value(types.intp, value, value), lower


@instruction
def shift_in(typingctx: Any, before: Any, value: Any) -> Any:
    """`value` moved up by one lane; lane 0 is the last lane of `before`."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = list(range(value.lanes - 1, 2 * value.lanes - 1))
        order = ir.Constant(ir.VectorType(_INT32, value.lanes), lanes)
        return builder.shuffle_vector(args[0], args[1], order)

    return value(value, value), lower


@instruction
def total(typingctx: Any, value: Any) -> Any:
    """The sum of all lanes."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = args[0].type.element
        function = _llvm(builder, f"llvm.vector.reduce.fadd.{_suffix(value)}", scalar, scalar, args[0].type)
        return builder.call(function, [scalar(-0.0), args[0]], fastmath=("reassoc",))

    return value.dtype(value), lower


@instruction
def gemm(typingctx: Any, function: Any, trans_a: Any, trans_b: Any, m: Any, n: Any, k: Any,
         a: Any, lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any) -> Any:  # fmt: skip
    """BLAS's ?gemm at the address `function`, with alpha 1; column-major, as Fortran has it."""
    real = c.dtype
    ints = types.int64

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address, ta, tb, *rest = args
        scalar = context.get_value_type(real)

        def by_reference(value: Any) -> Any:
            return cgutils.alloca_once_value(builder, value)

        def letter(flag: Any) -> Any:
            return by_reference(builder.select(flag, ir.IntType(8)(ord("T")), ir.IntType(8)(ord("N"))))

        def size(value: Any) -> Any:
            return by_reference(builder.trunc(value, _INT32))

        m_, n_, k_, a_, lda_, b_, ldb_, beta_, c_, ldc_ = rest
        passed = [letter(ta), letter(tb), size(m_), size(n_), size(k_), by_reference(scalar(1.0))]
        passed += [a_, size(lda_), b_, size(ldb_), by_reference(beta_), c_, size(ldc_)]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(address, kind.as_pointer()), passed)
        return context.get_dummy_value()

    flags = types.boolean, types.boolean
    return types.void(ints, *flags, ints, ints, ints, a, ints, b, ints, real, c, ints), lower
