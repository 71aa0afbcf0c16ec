"""A picture that is read window by window: from a file, an opened picture or an array, each upright and RGB.

What a window shows is, pixel by pixel, what `data.images` makes of the whole picture. An uncompressed TIFF or BMP of 8
bits is read row by row from the file; any other file is decoded as a whole, and only that once.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from panet.data.images import MAX_FILE_PIXELS, find_span, open_picture, orientation, printable, to_rgb, turn
from panet.errors import DataError
from panet.ops.rle import MAX_TILED_PIXELS
from panet.ops.tiles import Tile
from panet.structures import Size

__all__ = ["ImageLike", "Picture", "open_windows"]

ImageLike: TypeAlias = str | Path | Image.Image | NDArray[np.uint8]
"""A picture file; an opened picture; (H, W, 3) uint8 RGB."""

_RAW_MODES = ("L", "RGB", "BGR")
_FLIPPED_X, _FLIPPED_Y, _SWAPPED = (2, 3, 7, 8), (3, 4, 6, 7), (5, 6, 7, 8)  # of the stored picture's axes, by EXIF


class Picture(Protocol):
    """Upright pixels of which windows can be read."""

    @property
    def size(self) -> Size:
        """Give (H, W), upright."""

    def read(self, window: Tile) -> Tensor:
        """Give (3, h, w) uint8 RGB of a window that lies in the picture."""


@contextmanager
def open_windows(source: ImageLike) -> Iterator[Picture]:
    """Open a picture for reading windows of it.

    Args:
        source: a file of at most 178 million pixels; an opened picture or an array of at most 500 million.

    Raises:
        DataError: no readable picture, or too large; also while windows are read.
    """
    # What fails while the caller works with the picture is not the file's fault, and passes through as it is.
    if isinstance(source, str | Path):
        picture, strips = _open_file(source)
        if picture is not None:
            yield picture
        else:
            with open(source, "rb") as stream:
                yield _Rows(strips, stream, printable(source))
    elif isinstance(source, Image.Image):
        yield _open_image(source)
    elif isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or not source.size:
            raise DataError(f"array of {source.dtype} {source.shape}: expected uint8 (height, width, 3), RGB")
        _check_size((source.shape[0], source.shape[1]))
        yield _Array(source)
    else:
        raise DataError(f"a {type(source).__name__} is no picture: expected a file, a PIL picture or an array")


def _open_file(path: str | Path) -> "tuple[_Decoded | None, list[_Strip]]":
    """Give the decoded picture; or None, and the parts of one that need not be decoded."""
    with open_picture(path, most=MAX_FILE_PIXELS) as image:
        strips = _find_strips(image)
        if strips:
            return None, strips
        image.load()  # before EXIF: reading EXIF of a damaged PNG can hide the damage
        return _Decoded(image, path), []


def _open_image(image: Image.Image) -> "_Decoded":
    _check_size((image.height, image.width))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return _Decoded(image, "picture")
    except (OSError, SyntaxError, ValueError) as error:  # of a file that Pillow has opened, but not yet read
        raise DataError(f"PIL picture of mode {image.mode}: cannot be read: {error}") from error


def _check_size(size: Size) -> None:
    height, width = size
    if not 0 < height * width <= MAX_TILED_PIXELS:
        raise DataError(f"{width} x {height} pixels: a picture may have 1 to {MAX_TILED_PIXELS}; cut it")


class _Array:
    """(H, W, 3) uint8, perhaps mapped from a file."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array
        self.size: Size = array.shape[0], array.shape[1]

    def read(self, window: Tile) -> Tensor:
        x1, y1, x2, y2 = window.box
        part = np.array(self._array[y1:y2, x1:x2], order="C")  # a copy: the caller keeps it
        return torch.from_numpy(part).permute(2, 0, 1)


class _Decoded:
    """A picture in memory, 1 to 4 bytes a pixel; what a window shows is turned and converted when it is read."""

    def __init__(self, image: Image.Image, name: str | Path) -> None:
        self._image, self._name = image, name
        self._orientation = orientation(image)
        self._span = find_span(image)
        stored: Size = image.height, image.width
        self.size = stored[::-1] if self._orientation in _SWAPPED else stored

    def read(self, window: Tile) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transparency: the colour under it is what counts
            part = to_rgb(self._image.crop(self._stored_box(window)), self._name, self._span)
        return torch.from_numpy(np.array(turn(part, self._orientation))).permute(2, 0, 1)

    def _stored_box(self, window: Tile) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = window.box
        if self._orientation in _SWAPPED:
            x1, y1, x2, y2 = y1, x1, y2, x2
        width, height = self._image.size
        if self._orientation in _FLIPPED_X:
            x1, x2 = width - x2, width - x1
        if self._orientation in _FLIPPED_Y:
            y1, y2 = height - y2, height - y1
        return x1, y1, x2, y2


class _Strip(NamedTuple):
    """A part of an uncompressed picture that lies in the file as rows of equal length.

    Args:
        box: which part, image px.
        mode: the order of a pixel's bytes: "L", "RGB" or "BGR".
        offset: of the first row in the file, bytes.
        stride: from a row to the next, bytes.
        upwards: the first row is the lowest.
    """

    box: tuple[int, int, int, int]
    mode: str
    offset: int
    stride: int
    upwards: bool

    def find_row(self, y: int, x: int) -> int:
        """Give the place in the file of a pixel."""
        left, top, _, bottom = self.box
        row = bottom - 1 - y if self.upwards else y - top
        return self.offset + row * self.stride + (x - left) * len(self.mode)


class _Rows:
    """An uncompressed picture in a file; of a window its rows are read, and nothing else."""

    def __init__(self, strips: list[_Strip], stream: BinaryIO, name: str) -> None:
        self._strips, self._stream, self._name = strips, stream, name
        right, bottom = (max(strip.box[side] for strip in strips) for side in (2, 3))
        self.size: Size = bottom, right

    def read(self, window: Tile) -> Tensor:
        mode = self._strips[0].mode
        pixels = np.zeros((window.height, window.width, len(mode)), dtype=np.uint8)
        left, top, right, bottom = window.box
        for strip in self._strips:
            x1, y1, x2, y2 = strip.box
            x1, y1, x2, y2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
            for y in range(y1, y2) if x1 < x2 else ():
                row = self._read_bytes(strip.find_row(y, x1), (x2 - x1) * len(mode))
                pixels[y - top, x1 - left : x2 - left] = row.reshape(-1, len(mode))
        order = {"L": [0, 0, 0], "RGB": [0, 1, 2], "BGR": [2, 1, 0]}[mode]
        return torch.from_numpy(pixels[:, :, order]).permute(2, 0, 1)

    def _read_bytes(self, place: int, count: int) -> NDArray[np.uint8]:
        try:
            self._stream.seek(place)
            content = self._stream.read(count)
        except (OSError, ValueError, OverflowError) as error:  # of a file that gives a place outside of itself
            raise DataError(f"{self._name}: not a readable picture ({error}); save it again") from error
        if len(content) < count:
            raise DataError(f"{self._name}: not a readable picture (the file is cut); save it again")
        return np.frombuffer(content, dtype=np.uint8)


def _find_strips(image: Image.Image) -> list[_Strip]:
    """Give the parts of a TIFF or BMP that lies in its file uncompressed, 8 bits a channel, upright; of others none."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in ("TIFF", "BMP") or orientation(image) != 1:
        return []
    strips, covered = [], 0
    for codec, box, offset, arguments in image.tile:
        if codec != "raw" or box is None or not isinstance(arguments, tuple) or arguments[0] not in _RAW_MODES:
            return []
        x1, y1, x2, y2 = box
        mode, stride, direction = arguments
        strips.append(_Strip(box, mode, offset, stride or (x2 - x1) * len(mode), direction < 0))
        covered += (x2 - x1) * (y2 - y1)
    same = len({strip.mode for strip in strips}) == 1 and image.mode in ("L", "RGB")
    return strips if same and covered == image.width * image.height else []
