"""Compile small pure functions on arrays with numba.

A kernel releases the interpreter lock and works on an index range, so that one thread pool drives
everything; ``parallel=True`` is never used (its default layer aborts on concurrent calls).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

SEAL = sha256().digest_size
"""Bytes of the hash that each file of the cache begins with."""


class _Places(FunctionCache._impl_class):  # type: ignore[misc] # noqa: SLF001 (numba has no public way)
    """Where compiled kernels may lie: in the user's cache folder rather than beside the source.

    What pip did not install it does not remove, and a folder ``fcp_runtime`` that is left behind in
    ``site-packages`` would hide an editable install.
    """

    _locator_classes = sorted(
        FunctionCache._impl_class._locator_classes,  # noqa: SLF001
        key=lambda place: "InTree" in place.__name__,
    )


class _SealedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Files of a cache that begin with their hash: what is damaged counts as missing.

    A machine that lost power or a full disk may leave half a file, and another process may have put
    its kernel in a place that the index gives to ours: so each also says whose kernel it is.
    """

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        found = super().load(key)
        return None if found is None or found[0] != key else found[1]

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)
        return sha256(data).digest() + data

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()
        seal, data = content[:SEAL], content[SEAL:]
        if sha256(data).digest() != seal:
            raise OSError(f"{name} is damaged")
        return pickle.loads(data)  # noqa: S301 (as numba does; the hash is that of what we wrote)

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump((self._version, self._source_stamp, overloads)))

    def _load_index(self) -> dict[Any, str]:
        try:
            version, stamp, overloads = self._load_data(self._index_name)
        except OSError:
            return {}
        current = version == self._version and stamp == self._source_stamp
        return overloads if current else {}


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """A cache that does without if the disk or a quota is full."""

    _impl_class = _Places

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _SealedFile(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def save_overload(self, *arguments: Any) -> None:
        with suppress(OSError):
            super().save_overload(*arguments)


def kernel(function: F) -> F:
    """Compile ``function`` at its first call, without fast-math; cache it if a cache can be written."""
    compiled = numba.njit(nogil=True)(function)
    with suppress(RuntimeError):  # no folder for the cache can be written: compile in every process
        compiled._cache = _KernelCache(function)  # noqa: SLF001 (what its option cache=True does)
    return compiled  # type: ignore[no-any-return]


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
