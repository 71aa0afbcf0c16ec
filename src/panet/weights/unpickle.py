"""Read a pickle of numpy arrays (Detectron2's .pkl) without running anything that it names."""

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from typing import Any

import numpy as np

from panet.errors import CheckpointError

__all__ = ["read_arrays"]

_PLAIN_DTYPE = re.compile(r"[<>|=]?[fiub][1248]")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")


class _Dtype:
    """Stands for numpy.dtype: plain numbers only."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or not _PLAIN_DTYPE.fullmatch(name):
            raise pickle.UnpicklingError(f"an array of {name!r}, not of numbers")
        self.plain = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray until its content comes; numpy's own reader of a pickle's state is never called."""

    def __init__(self) -> None:
        self.plain = np.empty(0, np.float32)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, columns_first, content = state
        self.plain = _frombuffer(content, dtype, shape, "F" if columns_first else "C").plain


def _reconstruct(kind: object, shape: object, _: object) -> _Array:
    if kind is not _Array or shape != (0,):
        raise pickle.UnpicklingError("an array that begins with a shape")
    return _Array()


def _frombuffer(content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.plain = np.frombuffer(content, dtype.plain).reshape(shape, order="F" if order == "F" else "C")
    return array


def _empty_bytes() -> bytes:
    return b""


def _encode(text: str, encoding: str) -> bytes:
    """Stand for _codecs.encode, by which older protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("__builtin__", "bytes"): _empty_bytes,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Arrays and built-in containers; any other name is refused before it is looked up."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is not an array") from None


def read_arrays(content: bytes, name: str) -> Any:
    """Give what a pickle holds: built-in containers, numbers, text, and numpy arrays in mappings, two levels deep.

    Args:
        content: the file's bytes.
        name: the file's name, for the error.

    Raises:
        CheckpointError: it is cut or damaged, or names anything but arrays; nothing has been run then.
    """
    try:
        _check_memo(content)
        document = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises many types; all of them mean: not to be used
        lines = str(error).splitlines() or [type(error).__name__]
        raise CheckpointError(f"{name}: not read: {lines[0]}: a pickle may hold arrays of numbers only") from error
    return _with_arrays(document, levels=2)


def _with_arrays(value: Any, levels: int) -> Any:
    if isinstance(value, _Array):
        return value.plain
    if isinstance(value, dict) and levels:
        return {key: _with_arrays(each, levels - 1) for key, each in value.items()}
    return value


def _check_memo(content: bytes) -> None:
    """Refuse a memo index beyond the memo: the reader would allocate all places below it."""
    puts = 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _PUTS:
            if isinstance(argument, int) and argument > puts:
                raise pickle.UnpicklingError("a memo index out of order")
            puts += 1
