"""Picture files -> upright RGB pixels. Nothing is trusted: formats are named, sizes are checked before decoding."""

import glob
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from panet.errors import DataError
from panet.ops.rle import MAX_PIXELS
from panet.structures import Size

__all__ = [
    "EXTENSIONS",
    "MAX_FILE_PIXELS",
    "check_pixels",
    "find_span",
    "list_images",
    "open_picture",
    "orientation",
    "printable",
    "read_image",
    "read_label_map",
    "read_size",
    "to_pixels",
    "to_rgb",
    "turn",
]

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

MAX_FILE_PIXELS = 178_000_000
"""No picture file may have more where it is looked at tile by tile: Pillow opens hardly larger ones."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # others could start foreign programs (EPS)
_STRIP = 256  # rows
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged files, seen with flipped and cut bytes; it documents only the first.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: str | Path, size: Size | None = None) -> Tensor:
    """Read a picture as (3, H0, W0) uint8 RGB, turned upright by its EXIF orientation.

    If its annotations state the (H, W) of the pixels as they are stored, and upright it has another, it is not turned.

    Grey, palette, 1-bit and CMYK pictures become RGB; alpha is dropped and the colour under it kept; an animation gives
    its first frame. A 16- or 32-bit integer picture whose values exceed 255 is stretched, its smallest value to 0
    and its largest to 255; one whose values do not is taken as it is.

    Raises:
        DataError: not a readable picture of an allowed format, too large, or of floats; names the file and the reason.
    """
    with open_picture(path) as image:
        image.load()  # before EXIF: reading EXIF of a damaged PNG can hide the damage
        return to_pixels(image, path, size)


def to_pixels(image: Image.Image, name: str | Path, size: Size | None = None) -> Tensor:
    """Do as `read_image` with an opened picture; `name` is for the error."""
    rgb = to_rgb(image, name, find_span(image))
    upright = turn(rgb, orientation(image))
    as_stored = size == (rgb.height, rgb.width) != (upright.height, upright.width)
    pixels = np.array(rgb if as_stored else upright)  # a copy: torch wants writable memory
    return torch.from_numpy(pixels).permute(2, 0, 1)  # lies channels last: resizing it takes half the time


def read_label_map(path: str | Path, content: bytes | None = None) -> NDArray[np.integer]:
    """Read a PNG or TIFF whose pixels are numbers, not colours: (H, W) integers, or (H, W, 3) uint8 if they are RGB.

    A palette picture gives its indices. Pixels lie as they are stored: nothing is turned or stretched.

    Args:
        path: the file, or what errors call it.
        content: the file's bytes, where they came by another way.
    Raises:
        DataError: as for `read_image`; or pixels that cannot be numbers, a lossy format, several pages.
    """
    name = printable(path)
    with open_picture(path, content) as image:
        if image.format not in ("PNG", "TIFF"):
            raise DataError(f"{name}: a {image.format} does not keep numbers exactly; save it as PNG")
        if getattr(image, "n_frames", 1) > 1:
            raise DataError(f"{name}: holds {getattr(image, 'n_frames', 1)} pages; save one label map a file")
        if image.mode not in (*_DEEP_MODES, "1", "L", "P", "RGB"):
            raise DataError(f"{name}: its pixels are {image.mode}, not numbers; save it as a PNG of 8 or 16 bits")
        image.load()
        pixels = np.array(image)
        return pixels.astype(np.uint8) if image.mode == "1" else pixels


def read_size(path: str | Path, most: int = MAX_PIXELS) -> Size:
    """Give the upright (height, width) from a picture's header; DataError as for `read_image`.

    Args:
        path: the file.
        most: pixels that it may have.
    """
    with open_picture(path, most=most) as image:
        width, height = image.size
        turned = orientation(image) >= 5 and image.format != "TIFF"  # Pillow turns TIFF itself, size included
        return (width, height) if turned else (height, width)


def check_pixels(image: Image.Image, name: str | Path) -> None:
    """Refuse pixels that have no meaning as 0..255: floats."""
    if image.mode == "F":
        raise DataError(f"{printable(name)}: its pixels are floats; save it with 8 or 16 bits a channel")


def list_images(source: str | Path) -> list[Path]:
    """List the pictures a file, a folder (not its sub-folders) or a glob pattern names, in sorted order.

    Raises:
        DataError: there is none; says what was looked for.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))
    found = sorted(entry for entry in candidates if entry.suffix.lower() in EXTENSIONS and entry.is_file())
    if not found:
        kind = "the folder holds no picture" if path.is_dir() else "no such file, folder or pattern"
        raise DataError(f"{printable(source)}: {kind} ({', '.join(EXTENSIONS)})")
    return found


def printable(text: str | Path) -> str:
    """Escape control characters and what no terminal can show, so that a name stays on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


@contextmanager
def open_picture(path: str | Path, content: bytes | None = None, *, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open a picture of an allowed format with at most so many pixels; every failure inside becomes a DataError."""
    name = printable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are checked here
            if content is None and os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
                raise DataError(f"{name}: is no file; a pipe or a device may never end")
            # From a stream: given a path, Pillow maps an uncompressed TIFF and scrambles it if it must be turned.
            with (
                open(path, "rb") if content is None else io.BytesIO(content) as stream,
                Image.open(stream, formats=_FORMATS) as image,
            ):
                width, height = image.size
                if not 0 < width * height <= most:
                    cure = "tile it first (panet predict: --tile 1024)" if most < MAX_FILE_PIXELS else "cut it"
                    raise DataError(f"{name}: {width} x {height} pixels: a picture may have 1 to {most}; {cure}")
                yield image
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{name}: is a folder, not a picture") from None
    except PermissionError:
        raise DataError(f"{name}: must not be read by this user; change its permissions") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: is no picture, or none of {', '.join(_FORMATS)}; save it as PNG or JPEG") from None
    except _DAMAGE as error:
        why = printable(str(error)) or type(error).__name__
        raise DataError(f"{name}: not a readable picture ({why}); save it again as PNG or JPEG") from error


def orientation(image: Image.Image) -> int:
    """Give the EXIF orientation 1..8; 1 where there is none. Of some pictures it decodes the pixels."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:  # a garbage EXIF block does not spoil the pixels
        return 1
    return value if value in _UPRIGHT else 1


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture upright that has this EXIF orientation."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def to_rgb(image: Image.Image, name: str | Path, span: tuple[int, int] | None) -> Image.Image:
    """Give 8 bits a channel; `span` is the `find_span` of the whole picture, `name` is for the error."""
    check_pixels(image, name)
    if span is not None:
        return Image.fromarray(_to_bytes(np.asarray(image), span)).convert("RGB")
    return image.convert("RGB")


def find_span(image: Image.Image) -> tuple[int, int] | None:
    """Give the smallest and the largest value of a picture with 16 or 32 bits; None for any other."""
    if image.mode not in _DEEP_MODES:
        return None
    lows, highs = [], []
    for top in range(0, image.height, _STRIP):  # a copy of a part at a time
        part = np.asarray(image.crop((0, top, image.width, min(top + _STRIP, image.height))))
        lows.append(int(part.min()))
        highs.append(int(part.max()))
    return min(lows), max(highs)


def _to_bytes(pixels: NDArray[np.integer], span: tuple[int, int]) -> NDArray[np.uint8]:
    low, high = span
    if low >= 0 and high <= 255:
        return pixels.astype(np.uint8)
    scaled = (pixels.astype(np.float64) - low) * 255 / max(high - low, 1)
    return np.rint(scaled).astype(np.uint8)
