"""What is known of a picture before it is decoded: its size, and whether its file is whole.

The cost is reading the file, and for a PNG inflating it, not decoding it: a PNG carries checksums, a JPEG ends in a
marker. Of a format with neither, and of a PNG or a JPEG with anything unusual in it, the pixels are decoded.
"""

import os
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
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colour
_PNG_FILTERS = 5  # ways to write a line
_PNG_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_PNG_COLOUR = {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"bKGD", b"pHYs", b"sBIT", b"tIME"}
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", 0xDA
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
_JPEG_TABLES = {0xC4, 0xDB}


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
            scan, markers = _find_scan(stream)
            _find_end(stream, scan, printable(path))
        return markers >= {_JPEG_SCAN, *_JPEG_TABLES} and not markers.isdisjoint(_JPEG_FRAMES)
    return False


def _read_chunks(stream: BinaryIO, name: str) -> bool:
    """Check the checksums of a PNG, and that no line is missing; tell whether it has nothing but pixels and colour."""
    stream.seek(_PNG_SIGNATURE)
    plain, kind, lines = True, b"", _Lines(b"")
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
            if kind == b"IHDR":
                lines = _Lines(block)
            elif kind == b"IDAT":
                lines.take(block)
        if stream.read(4) == struct.pack(">I", checksum):
            continue
        plain = False
        if kind in _PNG_PIXELS:
            where = kind.decode("ascii", "backslashreplace")
            raise DataError(f"{name}: the PNG is damaged: its {where} chunk fails its checksum; copy it again")
    if lines.are_sound and lines.left > 0:  # Pillow would make them black
        raise DataError(f"{name}: the PNG is damaged: its last lines are missing; copy or download it again")
    return plain and lines.are_sound


class _Lines:
    """The lines of a PNG, inflated to be counted and thrown away.

    Args:
        header: the content of its first chunk.
    """

    def __init__(self, header: bytes) -> None:
        self._stream = zlib.decompressobj()
        self._step, self.left = 1, 0  # bytes of a line; bytes that are still to come
        self.are_sound = False  # whether they can be drawn as far as they have come; unknown if they are interlaced
        if len(header) == 13:
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
            if colour in _PNG_CHANNELS and not interlaced:
                self._step = 1 + (width * depth * _PNG_CHANNELS[colour] + 7) // 8
                self.left, self.are_sound = self._step * height, True

    def take(self, block: bytes) -> None:
        """Take a part of the pixels."""
        while block and self.left > 0 and self.are_sound:
            try:
                lines = self._stream.decompress(block, _BLOCK)
            except zlib.error:
                self.are_sound = False
                return
            kinds = lines[self.left % self._step :: self._step]  # the first byte of each line
            self.are_sound = max(kinds, default=0) < _PNG_FILTERS
            self.left -= len(lines)
            block = self._stream.unconsumed_tail


def _find_end(stream: BinaryIO, scan: int, name: str) -> None:
    """Check that a JPEG's scan has an end; what is behind it does not matter."""
    end = stream.seek(0, 2)
    while end > scan:  # from behind: in a whole file it is found at once
        start = max(scan, end - _BLOCK)
        stream.seek(start)
        if _JPEG_END in stream.read(end - start + 1):  # one byte more: the marker may lie across two blocks
            return
        end = start
    raise DataError(f"{name}: the JPEG is cut off: it has no end marker; copy or download it again")


def _find_scan(stream: BinaryIO) -> tuple[int, set[int]]:
    """Give the place of a JPEG's first scan, and the markers up to it: before it, a thumbnail has an end of its own."""
    stream.seek(2)
    markers: set[int] = set()
    while True:
        place = stream.tell()
        header = stream.read(4)
        if len(header) < 4 or header[0] != 0xFF:
            return place, markers
        if header[1] == 0xFF:  # padding, of any length
            stream.seek(place + 1)
            rest = b""
            while not rest and (block := stream.read(_BLOCK)):
                rest = block.lstrip(b"\xff")
            stream.seek(-len(rest) - 1, os.SEEK_CUR)
            continue
        markers.add(header[1])
        if header[1] == _JPEG_SCAN:
            return place, markers
        (length,) = struct.unpack(">H", header[2:])
        stream.seek(place + 2 + length)
