"""COCO run-length encoding of masks, read without trust and written in milliseconds.

A mask is read column by column; `counts` are the lengths of its runs of zeros and ones in turn, zeros first. When
compressed, each count after the third is the difference to the one before last, and every number becomes characters of
five bits.
Here a mask is a list of positions: 2R increasing places, column by column, where it changes; run r of ones covers
positions[2r] to positions[2r + 1].
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from panet.errors import DataError

__all__ = [
    "MAX_PIXELS",
    "MAX_TILED_PIXELS",
    "Mask",
    "Positions",
    "Rle",
    "area",
    "decode",
    "decode_window",
    "encode",
    "encode_window",
    "measure_area",
    "measure_box",
    "read_positions",
    "to_box",
    "write_positions",
]

MAX_PIXELS = 64_000_000
"""No picture and no mask may have more where it is made as a whole; checked before anything of that size is made."""

MAX_TILED_PIXELS = 500_000_000
"""No encoded mask may have more, nor a picture that is looked at tile by tile."""

_MAX_COUNTS = 1 << 22  # runs of one mask: 300 MB while it is read
_MAX_CHARACTERS = 8  # of one number: 40 bits, more than any count below MAX_TILED_PIXELS needs
_LARGEST_GROUPS = 6  # what writing needs: 30 bits hold -MAX_TILED_PIXELS..MAX_TILED_PIXELS

Positions: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


class Rle(TypedDict):
    """COCO's compressed form; ready for JSON."""

    size: list[int]
    counts: str


def encode(mask: Mask) -> Rle:
    """Encode an (H, W) mask; decode(encode(mask)) == mask."""
    height, width = mask.shape
    return encode_window(mask, 0, 0, (height, width))


def encode_window(mask: Mask, left: int, top: int, size: tuple[int, int]) -> Rle:
    """Encode a picture's mask that is zero outside a window; never builds H x W.

    Args:
        mask: (h, w), the window's part.
        left, top: the window's first column and row; it lies inside the picture.
        size: (H, W) of the picture.
    """
    (height, width), (window_height, window_width) = size, mask.shape
    assert 0 <= left <= width - window_width, (left, mask.shape, size)
    assert 0 <= top <= height - window_height, (top, mask.shape, size)
    # One zero before everything and one below each column: every run starts and ends inside its column.
    line = np.zeros(window_width * (window_height + 1) + 1, dtype=bool)
    line[1:].reshape(window_width, window_height + 1)[:, :window_height] = np.asarray(mask, dtype=bool).T
    columns, rows = np.divmod(np.flatnonzero(line[1:] != line[:-1]), window_height + 1)
    return write_positions((columns + left) * height + rows + top, height, width)


def decode(rle: Mapping[str, object], size: tuple[int, int] | None = None) -> Mask:
    """Decode into an (H, W) mask.

    Args:
        rle: compressed or not.
        size: (H, W) that it must have, if known.
    Raises:
        DataError: says what is wrong with the RLE.
    """
    positions, height, width = read_positions(rle, size)
    if height * width > MAX_PIXELS:
        raise DataError(f"a mask of {width} x {height} pixels is decoded in parts: at most {MAX_PIXELS} at once")
    return _fill(positions, height * width).reshape(width, height).T


def decode_window(rle: Mapping[str, object], left: int, top: int, size: tuple[int, int]) -> Mask:
    """Decode the part (h, w) of a mask that starts at column `left` and row `top`; costs its columns only."""
    positions, height, width = read_positions(rle)
    window_height, window_width = size
    assert 0 <= left <= width - window_width
    assert 0 <= top <= height - window_height
    first, last = left * height, (left + window_width) * height
    inside = np.clip(positions, first, last) - first  # runs outside shrink to nothing
    columns = _fill(inside, last - first).reshape(window_width, height)
    return columns[:, top : top + window_height].T


def area(rle: Mapping[str, object]) -> int:
    """Count the mask's pixels."""
    return measure_area(read_positions(rle)[0])


def to_box(rle: Mapping[str, object]) -> tuple[int, int, int, int]:
    """Give the tight box (x1, y1, x2, y2), x2 and y2 exclusive; four zeros for an empty mask."""
    positions, height, _ = read_positions(rle)
    return measure_box(positions, height)


def measure_area(positions: Positions) -> int:
    """Give the `area` of a mask from its positions."""
    return int((positions[1::2] - positions[::2]).sum())


def measure_box(positions: Positions, height: int) -> tuple[int, int, int, int]:
    """Give `to_box` of a mask of that height from its positions."""
    if not len(positions):
        return 0, 0, 0, 0
    first_columns, first_rows = np.divmod(positions[::2], height)
    last_columns, last_rows = np.divmod(positions[1::2] - 1, height)
    x1, x2 = int(first_columns[0]), int(last_columns[-1]) + 1
    if (first_columns != last_columns).any():  # a run that goes on into the next column touches both edges
        return x1, 0, x2, height
    return x1, int(first_rows.min()), x2, int(last_rows.max()) + 1


def read_positions(rle: Mapping[str, object], size: tuple[int, int] | None = None) -> tuple[Positions, int, int]:
    """Check an RLE and give (positions, H, W); allocates nothing of the mask's size.

    Raises:
        DataError: says what is wrong with the RLE.
    """
    height, width = _read_size(rle, size)
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        lengths = _read_characters(counts)
    elif isinstance(counts, Sequence):
        lengths = _read_numbers(counts, height * width)
    else:
        raise DataError("the RLE has no counts (a string or a list of integers)")
    if len(lengths) and lengths.min() < 0:
        raise DataError(f"RLE counts hold {lengths.min()}: a run cannot be shorter than 0")
    if not len(lengths) or lengths.max() > height * width or lengths.sum() != height * width:
        raise DataError(f"RLE counts do not add up to the {height} x {width} pixels of its size")
    positions = np.cumsum(lengths)
    if len(positions) % 2:
        positions = positions[:-1]  # the last run is of zeros
    return _drop_empty_runs(positions), height, width


def write_positions(positions: Positions, height: int, width: int) -> Rle:
    """Encode 2R non-decreasing positions of an (H, W) mask; empty runs vanish, touching ones join."""
    assert height * width <= MAX_TILED_PIXELS, (height, width)
    positions = _drop_empty_runs(positions)
    edges = np.concatenate([[0], positions, [height * width]])
    lengths = np.diff(edges)
    if len(lengths) > 1 and lengths[-1] == 0:
        lengths = lengths[:-1]
    numbers = lengths.copy()
    numbers[3:] -= lengths[1:-2]
    return {"size": [int(height), int(width)], "counts": _write_characters(numbers)}


def _fill(positions: Positions, length: int) -> Mask:
    lengths = np.diff(np.concatenate([[0], positions, [length]]))
    values = np.zeros(len(lengths), dtype=bool)
    values[1::2] = True
    return np.repeat(values, lengths)


def _drop_empty_runs(positions: Positions) -> Positions:
    """Remove equal neighbours in pairs: a change and a change back at one place are none."""
    if len(positions) < 2 or (positions[1:] > positions[:-1]).all():
        return positions
    places, times = np.unique(positions, return_counts=True)
    return np.asarray(places[times % 2 == 1], dtype=np.int64)


def _read_size(rle: Mapping[str, object], expected: tuple[int, int] | None) -> tuple[int, int]:
    size = rle.get("size")
    if not (isinstance(size, Sequence) and len(size) == 2 and all(type(side) is int for side in size)):
        raise DataError("the RLE has no size [height, width] of two integers")
    height, width = size
    if expected is not None and (height, width) != expected:
        raise DataError(f"RLE size {list(size)!s:.60} is not the picture's [height, width] {list(expected)}")
    if height < 1 or width < 1 or height * width > MAX_TILED_PIXELS:
        raise DataError(f"RLE size {list(size)!s:.60} must have 1 to {MAX_TILED_PIXELS} pixels")
    return height, width


def _read_numbers(counts: Sequence[object], largest: int) -> Positions:
    if len(counts) > _MAX_COUNTS:
        raise DataError(f"RLE counts hold {len(counts)} runs: at most {_MAX_COUNTS} are read")
    for count in counts:
        if type(count) is not int:
            raise DataError(f"RLE counts hold {count!r:.40}: only integers are allowed")
        if not 0 <= count <= largest:
            raise DataError(f"RLE counts hold {count!s:.40}: a run has 0 to {largest} pixels")
    return np.array(counts, dtype=np.int64)


def _read_characters(counts: str | bytes) -> Positions:
    """Read the compressed form: five bits a character, low ones first, a sixth bit where the number goes on."""
    if len(counts) > _MAX_COUNTS:
        raise DataError(f"RLE counts hold {len(counts)} characters: at most {_MAX_COUNTS} are read")
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "surrogatepass")  # bytes above 127 are illegal below
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63):
        place = int(np.flatnonzero((codes < 0) | (codes > 63))[0])
        raise DataError(f"RLE counts have an illegal character at place {place}")
    if not len(codes):
        return codes
    ends = np.flatnonzero(codes < 32)
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise DataError("RLE counts end in the middle of a number: the string is cut")
    starts = np.concatenate([[0], ends[:-1] + 1])
    num_characters = ends - starts + 1
    if num_characters.max() > _MAX_CHARACTERS:
        raise DataError("RLE counts hold a number that is too large")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, num_characters))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers[codes[ends] & 16 > 0] -= (1 << 5 * num_characters)[codes[ends] & 16 > 0]
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _write_characters(numbers: Positions) -> str:
    sizes = np.where(numbers < 0, ~numbers, numbers)
    limits = 1 << (5 * np.arange(1, _LARGEST_GROUPS) - 1)  # the last bit of a number is its sign
    num_characters = 1 + (sizes[:, None] >= limits).sum(axis=1)
    places = np.arange(_LARGEST_GROUPS)
    codes = (numbers[:, None] >> 5 * places) & 31
    codes += np.where(places < num_characters[:, None] - 1, 32, 0) + 48
    used = places < num_characters[:, None]
    return bytes(codes[used].tolist()).decode("ascii")
