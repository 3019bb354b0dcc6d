"""Compile small pure functions on arrays with numba.

A kernel releases the interpreter lock and works on an index range, so that one thread pool drives
everything; ``parallel=True`` is never used (its default layer aborts on concurrent calls).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile ``function`` at its first call, without fast-math; cache it if a cache can be written."""
    try:
        compiled = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder for the cache can be written: compile in every process
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
    compiled._cache.save_overload = _if_there_is_room(compiled._cache.save_overload)  # noqa: SLF001
    return compiled  # type: ignore[no-any-return]


def _if_there_is_room(save: Callable[..., None]) -> Callable[..., None]:
    """Return a function that saves to numba's cache, or not if the disk or a quota is full."""

    def saved(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    return saved


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, array: Any, row: Any, column: Any) -> Any:  # noqa: ARG001
    """Have the processor fetch an element of a 2-D array that will soon be changed; in kernels only.

    Worth it where short runs lie so far apart that the processor does not see which comes next.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of = context.make_array(signature.args[0])(context, builder, arguments[0])
        strides = cgutils.unpack_tuple(builder, of.strides, 2)
        place = [
            builder.mul(index, stride) for index, stride in zip(arguments[1:], strides, strict=True)
        ]
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.gep(builder.bitcast(of.data, byte), [builder.add(*place)])
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        )
        builder.call(function, [address, number(1), number(3), number(1)])  # to write, keep, data
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate
