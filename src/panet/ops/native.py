"""The compiled kernels of the package: whether they are there, and their calls, memory in and memory out.

They are built when the package is installed, if there is a C++ compiler. `PANET_NATIVE=0` in the environment switches
them off. What calls them has another way for when `LIBRARY` is None.
"""

import ctypes
import os
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

from panet.errors import ConfigError

__all__ = [
    "LIBRARY",
    "PROBLEM",
    "has_pairs",
    "pool",
    "pool_backward",
    "vectors",
    "write_counts",
]

_INTERFACE = 4  # of kernels/*.cpp


class _Pooling(ctypes.Structure):
    """`struct Pooling` of kernels/pooling.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("num_levels", "batch", "channels", "num_rois", "size", "samples")),
        *((name, ctypes.c_int64) for name in ("aligned", "is_bfloat16", "is_channels_first", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("heights", "widths", "scales", "rois", "level_of")),
    )


def _load(folder: Path, setting: str) -> tuple[ctypes.CDLL | None, str]:
    """Give the library, or None and why there is none.

    Raises:
        ConfigError: the setting is neither 0, 1 nor empty.
    """
    if setting not in ("", "0", "1"):
        raise ConfigError(f"PANET_NATIVE={setting}: expected 0 (without the compiled kernels) or 1")
    if setting == "0":
        return None, "switched off by PANET_NATIVE=0"
    files = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_kernels{suffix}").is_file()]
    if not files:
        return None, "not compiled: no C++ compiler worked when panet was installed"
    try:
        library = ctypes.CDLL(str(files[0]))
        interface = library.panet_interface()
    except (OSError, AttributeError) as error:
        return None, f"failed to load: {error}"
    if interface != _INTERFACE:
        return None, f"failed to load: {files[0].name} is of another version: install panet again"
    library.panet_vectors.restype = ctypes.c_char_p
    library.panet_masks_to_rle.restype = ctypes.c_int64
    library.panet_use_team(_team())
    return library, ""


def _team() -> ctypes.c_void_p | None:
    """Give the entry of the OpenMP that torch has loaded, for its threads; None where there is no such thing."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p)
    except (AttributeError, OSError, TypeError):  # no such symbol; Windows has no handle of the process
        return None


LIBRARY, PROBLEM = _load(Path(__file__).parent, os.environ.get("PANET_NATIVE", ""))
"""The library, or None; and why there is none."""


def vectors() -> str:
    """Name the vector instructions in use: AVX-512, AVX2, or baseline for those that every such processor has."""
    assert LIBRARY is not None
    name: bytes = LIBRARY.panet_vectors()
    return name.decode()


def has_pairs() -> bool:
    """Tell whether the kernels multiply pairs of bfloat16 by an instruction for it."""
    return LIBRARY is not None and bool(LIBRARY.panet_has_pairs())


def pool(
    maps: Sequence[Tensor],
    grids: Sequence[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: Sequence[float],
    samples: int,
    aligned: bool,
) -> None:
    """RoIAlign of RoIs on L levels, written to grids.

    Args:
        maps: L tensors (B, C, H_l, W_l).
        grids: L tensors (R, C, S, S); or one, if each RoI has its level.
        rois: (R, 5) float32: index of the picture, then xyxy.
        level_of: (R,) int64, an index of maps; None for every level.
        scales: L factors from the boxes' frame to map pixels.
        samples: points per bin side; 0: as many as the bin has map pixels.
        aligned: shift by half a map pixel; RoIs may be smaller than one.
    Maps and grids are all float32 or all bfloat16, on the CPU; maps lie channels_last, grids so or channels first.
    """
    assert LIBRARY is not None
    call = _describe(maps, grids, rois, level_of, scales, samples, aligned)
    if not LIBRARY.panet_pool(ctypes.byref(call), _addresses(maps), _addresses(grids)):
        raise MemoryError("pooling RoIs")


def pool_backward(
    grids: Sequence[Tensor],
    maps: Sequence[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: Sequence[float],
    samples: int,
    aligned: bool,
) -> None:
    """Gradients of `pool`: those of grids, float32 or bfloat16, give those of maps, float32, written over."""
    assert LIBRARY is not None
    call = _describe(maps, grids, rois, level_of, scales, samples, aligned)
    if not LIBRARY.panet_pool_backward(ctypes.byref(call), _addresses(grids), _addresses(maps)):
        raise MemoryError("gradients of pooled RoIs")


def write_counts(grids: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float) -> list[str]:
    """Paste D grids (M, M) where their boxes are in a picture (H, W); give COCO's compressed counts of each mask.

    Args:
        grids: (D, M, M) float32 on the CPU.
        boxes: (D, 4) xyxy, image px.
        size: (H, W).
        threshold: a pixel belongs to the mask at or above it.
    """
    assert LIBRARY is not None
    assert grids.dtype == torch.float32
    assert grids.shape == (len(boxes), grids.shape[1], grids.shape[1]), (grids.shape, boxes.shape)
    if not len(grids):
        return []
    grids, boxes = grids.detach().contiguous(), boxes.detach().double().contiguous()
    ends = (ctypes.c_int64 * len(grids))()
    capacity, length = 0, 1024 * len(grids)
    while length > capacity:  # at most twice: what did not fit has told its length
        capacity = length
        characters = ctypes.create_string_buffer(capacity)
        length = LIBRARY.panet_masks_to_rle(
            ctypes.c_void_p(grids.data_ptr()),
            ctypes.c_int64(len(grids)),
            ctypes.c_int64(grids.shape[1]),
            ctypes.c_void_p(boxes.data_ptr()),
            ctypes.c_int64(size[0]),
            ctypes.c_int64(size[1]),
            ctypes.c_double(threshold),
            characters,
            ctypes.c_int64(capacity),
            ends,
            ctypes.c_int64(torch.get_num_threads()),
        )
    if length < 0:
        raise MemoryError("run-length encoding of masks")
    counts = characters.raw[:length].decode("ascii")
    return [counts[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _describe(
    maps: Sequence[Tensor],
    grids: Sequence[Tensor],
    rois: Tensor,
    level_of: Tensor | None,
    scales: Sequence[float],
    samples: int,
    aligned: bool,
) -> _Pooling:
    """Check what the kernel takes for granted; the structure keeps alive what it points to."""
    batch, channels = maps[0].shape[:2]
    size = grids[0].shape[-1]
    assert len(grids) == (len(maps) if level_of is None else 1)
    assert len(scales) == len(maps)
    assert rois.shape == (len(rois), 5)
    assert rois.dtype == torch.float32
    assert level_of is None or (level_of.shape == (len(rois),) and level_of.dtype == torch.int64)
    assert all(x.shape[:2] == (batch, channels) and min(x.shape[2:]) > 0 for x in maps)
    assert all(x.shape == (len(rois), channels, size, size) and x.dtype == grids[0].dtype for x in grids)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)
    is_channels_first = not all(x.is_contiguous(memory_format=torch.channels_last) for x in grids)
    assert not is_channels_first or all(x.is_contiguous() for x in grids)
    assert rois.is_contiguous()
    assert level_of is None or level_of.is_contiguous()
    heights = (ctypes.c_int64 * len(maps))(*(x.shape[2] for x in maps))
    widths = (ctypes.c_int64 * len(maps))(*(x.shape[3] for x in maps))
    factors = (ctypes.c_float * len(maps))(*scales)
    call = _Pooling(
        *(len(maps), batch, channels, len(rois), size, samples),
        *(int(aligned), int(grids[0].dtype == torch.bfloat16), int(is_channels_first)),
        torch.get_num_threads(),
        *(ctypes.addressof(heights), ctypes.addressof(widths), ctypes.addressof(factors)),
        *(rois.data_ptr(), 0 if level_of is None else level_of.data_ptr()),
    )
    call.kept = (heights, widths, factors)
    return call


def _addresses(tensors: Sequence[Tensor]) -> "ctypes.Array[ctypes.c_void_p]":
    return (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))
