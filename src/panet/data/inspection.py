"""What is known of a picture before it is decoded: its size, and whether its file is whole.

The cost is reading the file, not decoding it: a PNG carries checksums, a JPEG ends in a marker. Of a format with
neither, and of a PNG with anything unusual in it, the pixels are decoded.
"""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from panet.data.images import check_pixels, open_picture, orientation, printable, to_pixels
from panet.errors import DataError
from panet.structures import Size

__all__ = ["PictureSizes", "inspect_picture"]

_MAX_BYTES = 1 << 30  # of a file: MAX_PIXELS of three 16-bit channels are 384 MB
_BLOCK = 1 << 20
_PNG_SIGNATURE = 8  # bytes
_PNG_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_PNG_COLOUR = {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"bKGD", b"pHYs", b"sBIT", b"tIME"}
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", 0xDA


class PictureSizes(NamedTuple):
    """(height, width) in px: turned upright, and as the pixels are stored."""

    upright: Size
    stored: Size


def inspect_picture(path: Path, decode: bool = False) -> PictureSizes:
    """Check that a picture's file is whole; give its sizes.

    Args:
        path: of the file.
        decode: decode the pixels whatever the format: the only way to be sure.
    Raises:
        DataError: not a picture of an allowed format and size, or a damaged one; names the file and the reason.
    """
    with open_picture(path) as image:
        check_pixels(image, path)
        _check_length(path)
        stored = (image.height, image.width)
        if decode or not _is_whole(image, path):
            image.load()
            rgb = to_pixels(image, path)
            return PictureSizes((int(rgb.shape[-2]), int(rgb.shape[-1])), (image.height, image.width))
        turned = image.format != "PNG" and orientation(image) >= 5
        return PictureSizes(stored[::-1] if turned else stored, stored)


def _check_length(path: Path) -> None:
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"{printable(path)}: is larger than {_MAX_BYTES // 2**20} MiB; tile the picture first")


def _is_whole(image: Image.Image, path: Path) -> bool:
    """Tell whether a file is surely not cut or changed; False where only decoding can tell."""
    if image.format == "PNG":
        with open(path, "rb") as stream:
            return _read_chunks(stream, printable(path))
    if image.format in ("JPEG", "MPO"):
        with open(path, "rb") as stream:
            _find_end(stream, printable(path))
        return True
    return False


def _read_chunks(stream: BinaryIO, name: str) -> bool:
    """Check the checksums of a PNG; tell whether it has nothing but pixels and colour."""
    stream.seek(_PNG_SIGNATURE)
    plain, kind = True, b""
    while kind != b"IEND":
        header = stream.read(8)
        if len(header) < 8:
            raise DataError(f"{name}: the PNG is cut off; copy or download it again")
        length, kind = struct.unpack(">I4s", header)
        checksum, left = zlib.crc32(kind), length
        plain = plain and kind in _PNG_PIXELS | _PNG_COLOUR
        while left > 0:
            block = stream.read(min(left, _BLOCK))
            if not block:
                raise DataError(f"{name}: the PNG is cut off; copy or download it again")
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        if stream.read(4) == struct.pack(">I", checksum):
            continue
        plain = False
        if kind in _PNG_PIXELS:
            where = kind.decode("ascii", "backslashreplace")
            raise DataError(f"{name}: the PNG is damaged: its {where} chunk fails its checksum; copy it again")
    return plain


def _find_end(stream: BinaryIO, name: str) -> None:
    """Check that a JPEG's scan has an end; what is behind it does not matter."""
    scan = _find_scan(stream)
    end = stream.seek(0, 2)
    while end > scan:  # from behind: in a whole file it is found at once
        start = max(scan, end - _BLOCK)
        stream.seek(start)
        if _JPEG_END in stream.read(end - start + 1):  # one byte more: the marker may lie across two blocks
            return
        end = start
    raise DataError(f"{name}: the JPEG is cut off: it has no end marker; copy or download it again")


def _find_scan(stream: BinaryIO) -> int:
    """Give the place of a JPEG's first scan: before it, a thumbnail has an end marker of its own."""
    stream.seek(2)
    while True:
        place = stream.tell()
        header = stream.read(4)
        if len(header) < 4 or header[0] != 0xFF or header[1] == _JPEG_SCAN:
            return place
        if header[1] == 0xFF:  # padding
            stream.seek(place + 1)
            continue
        (length,) = struct.unpack(">H", header[2:])
        stream.seek(place + 2 + length)
