"""Picture files -> upright RGB pixels. Nothing is trusted: formats are named, sizes are checked before decoding."""

import glob
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
    "check_pixels",
    "list_images",
    "open_picture",
    "orientation",
    "printable",
    "read_image",
    "read_size",
    "to_pixels",
]

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # others could start foreign programs (EPS)
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
    rgb = _to_rgb(image, name)
    upright = _turn(rgb, orientation(image))
    as_stored = size == (rgb.height, rgb.width) != (upright.height, upright.width)
    pixels = np.array(rgb if as_stored else upright)  # a copy: torch wants writable memory
    return torch.from_numpy(pixels).permute(2, 0, 1)  # lies channels last: resizing it takes half the time


def read_size(path: str | Path) -> Size:
    """Give the upright (height, width) from a picture's header; DataError as for `read_image`."""
    with open_picture(path) as image:
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
def open_picture(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture of an allowed format and size; every failure inside becomes a DataError that names it."""
    name = printable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are checked here
            # From a stream: given a path, Pillow maps an uncompressed TIFF and scrambles it if it must be turned.
            with open(path, "rb") as stream, Image.open(stream, formats=_FORMATS) as image:
                width, height = image.size
                if not 0 < width * height <= MAX_PIXELS:
                    raise DataError(
                        f"{name}: {width} x {height} pixels: a picture may have 1 to {MAX_PIXELS}; tile it first"
                    )
                yield image
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{name}: is a folder, not a picture") from None
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


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    check_pixels(image, path)
    if image.mode in _DEEP_MODES:
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    return image.convert("RGB")


def _to_bytes(pixels: NDArray[np.integer]) -> NDArray[np.uint8]:
    low, high = int(pixels.min()), int(pixels.max())
    if low >= 0 and high <= 255:
        return pixels.astype(np.uint8)
    scaled = (pixels.astype(np.float64) - low) * 255 / max(high - low, 1)
    return np.rint(scaled).astype(np.uint8)
