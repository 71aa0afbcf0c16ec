"""The clean data set of the battery, and what changes one thing in it."""

import contextlib
import copy
import json
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32
SQUARE = [[4, 4, 12, 4, 12, 14, 4, 14]]  # 8 x 10 px
RUNS = {"size": [HEIGHT, WIDTH], "counts": [24 * 20 + 2, 10, 14, 10, HEIGHT * WIDTH - 24 * 20 - 36]}
FIRST = "a.png"


def square(number, image_id=1, **changes):
    row = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 80}
    return {**row, "bbox": [4, 4, 8, 10], "segmentation": SQUARE, **changes}


DOCUMENT = {
    "images": [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for number, name in ((1, FIRST), (2, "b.png"), (3, "c.png"))
    ],
    "annotations": [
        square(1),
        square(2, category_id=2, segmentation=RUNS, bbox=[20, 2, 2, 10], area=20),
        square(3, 2),
        square(4, 3, iscrowd=1, segmentation=RUNS, bbox=[20, 2, 2, 10], area=20),
    ],
    "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "nut"}],
}


def noise(seed=0, size=(HEIGHT, WIDTH), channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


class Bench:
    """A data set in a folder: its document, which a case may change, and its pictures."""

    def __init__(self, root):
        self.root, self.images = root, root / "images"
        self.json = root / "train.json"
        self.images.mkdir()
        self.document = copy.deepcopy(DOCUMENT)
        self.content = None  # of the JSON file, instead of the document
        for place, row in enumerate(DOCUMENT["images"]):
            Image.fromarray(noise(place)).save(self.images / row["file_name"])

    @property
    def first(self):
        return self.images / FIRST

    def write(self):
        with contextlib.suppress(OSError):  # a case may name a file that cannot be
            self.json.write_bytes(json.dumps(self.document).encode() if self.content is None else self.content)


def annotation(**changes):
    """Change the first annotation; a value of `...` removes the key."""
    return lambda bench: _change(bench.document["annotations"][0], changes)


def image(**changes):
    """Change the first picture's row."""
    return lambda bench: _change(bench.document["images"][0], changes)


def _change(row, changes):
    row.update(changes)
    for key in [key for key, value in row.items() if value is ...]:
        del row[key]


def row_of(key, value, place=0):
    """Put something else in the place of a row."""
    return lambda bench: bench.document[key].__setitem__(place, value)


def more(key, *rows):
    return lambda bench: bench.document[key].extend(rows)


def document(**changes):
    return lambda bench: _change(bench.document, changes)


def content(text):
    """Write a JSON file of these bytes, or of what a function makes of the clean ones."""

    def change(bench):
        clean = json.dumps(bench.document).encode()
        bench.content = text(clean) if callable(text) else text

    return change


def named(name, link=False):
    """Give the first picture another name, on disk too."""

    def change(bench):
        path = bench.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if link:
            path.symlink_to(bench.first)
        else:
            bench.first.rename(path)
        bench.document["images"][0]["file_name"] = name

    return change


def called(name):
    """Give the first picture another name in the file only."""
    return image(file_name=name)


def picture(make, **row):
    """Write the first picture anew: bytes, or a function of its path."""

    def change(bench):
        bench.first.unlink()
        if isinstance(make, bytes):
            bench.first.write_bytes(make)
        else:
            make(bench.first)
        _change(bench.document["images"][0], row)

    return change


def saved(form, mode="RGB", **options):
    """Save noise in a format and a mode of Pillow."""
    return lambda path: Image.fromarray(noise()).convert(mode).save(path, form, **options)


def spoilt(form, spoil, mode="RGB", **options):
    """Save noise, then do something to its bytes."""

    def make(path):
        saved(form, mode, **options)(path)
        path.write_bytes(spoil(bytearray(path.read_bytes())))

    return make


def flipped(place):
    """Flip the bits of the byte at a share of the file's length."""

    def spoil(content):
        content[int(len(content) * place)] ^= 0xFF
        return content

    return spoil


def array(values, **options):
    return lambda path: Image.fromarray(values).save(path, "TIFF", **options)


def exif(orientation, size):
    """Save a JPEG of stored size (H, W) with an EXIF orientation."""

    def make(path):
        tags = Image.Exif()
        tags[0x0112] = orientation
        Image.fromarray(noise(0, size)).save(path, "JPEG", exif=tags)

    return make


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, *chunks):
    """Make a PNG by hand: 8 bits of grey, with these chunks after the header."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


def grey_rows(width=WIDTH, height=HEIGHT):
    return chunk(b"IDAT", zlib.compress(b"\0" * ((width + 1) * height), 9))


END = chunk(b"IEND", b"")
BOMB = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A" * 4_000_000, 9))
