"""Bad, odd and good picture files and names (A, B): what becomes of each."""

import os
import zlib

import numpy as np

from battery.case import DROP_IMG, OK, WARN, Case
from battery.workbench import (
    BOMB,
    END,
    HEIGHT,
    WIDTH,
    annotation,
    array,
    called,
    chunk,
    exif,
    flipped,
    grey_rows,
    image,
    named,
    noise,
    picture,
    png,
    row_of,
    saved,
    spoilt,
)

DAMAGED = "picture-damaged"
TURNED = (WIDTH, HEIGHT)  # (H, W) of a picture that EXIF orientation 6 turns into HEIGHT x WIDTH
LINE = {"height": 2000, "width": 1}


def gone(bench):
    bench.first.unlink()


def folder(bench):
    gone(bench)
    bench.first.mkdir()


def dangling(bench):
    gone(bench)
    bench.first.symlink_to(bench.images / "elsewhere.png")


def in_a_ring(bench):
    gone(bench)
    bench.first.symlink_to(bench.first)


def pipe(bench):
    gone(bench)
    os.mkfifo(bench.first)


def line(bench):
    picture(lambda path: saved_line(path), **LINE)(bench)
    bench.document["annotations"] = bench.document["annotations"][2:]


def saved_line(path):
    from PIL import Image

    Image.fromarray(noise(0, (2000, 1))).save(path, "PNG")


def outside(bench):
    path = bench.root / "outside.png"
    bench.first.rename(path)
    bench.document["images"][0]["file_name"] = str(path)


def above(bench):
    outside(bench)
    bench.document["images"][0]["file_name"] = "../outside.png"


def composed(bench):
    """Name the first picture on disk as macOS does."""
    bench.first.rename(bench.images / "e\u0301.png")
    bench.document["images"][0]["file_name"] = "\u00e9.png"


def animation(path):
    from PIL import Image

    first, second = (Image.fromarray(noise(seed)) for seed in (0, 1))
    first.save(path, "GIF", save_all=True, append_images=[second])


def without_end(content):
    return content[: content.rindex(b"\xff\xd9")]


def with_thumbnail(path):
    """Write a JPEG that is cut off, and has a whole one in its EXIF block."""
    saved("JPEG")(path)
    content = path.read_bytes()
    block = b"Exif\0\0" + content
    marker = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    path.write_bytes(content[:2] + marker + without_end(content[2:]))


def without_scan(content):
    return content[: content.index(b"\xff\xda")] + b"\xff\xd9"


def lossless(content):
    """Say of a JPEG that it is of the lossless kind."""
    return content.replace(b"\xff\xc0", b"\xff\xc3")


def lines(content):
    """Write a PNG whose every checksum is right, whatever its pixels are."""
    return picture(png(WIDTH, HEIGHT, chunk(b"IDAT", content), END))


def endless(path):
    saved("JPEG")(path)
    os.truncate(path, (1 << 30) + 1)  # a hole: it takes no room


def large(path):
    from PIL import Image

    Image.new("1", (10_000, 9_000)).save(path, "PNG")


FILES = [
    Case("A01", DROP_IMG, "picture-missing", gone, "is not in"),
    Case("A02", DROP_IMG, DAMAGED, picture(b"")),
    Case("A03 half a JPEG", DROP_IMG, DAMAGED, picture(spoilt("JPEG", lambda c: c[: len(c) // 2]))),
    Case("A04", DROP_IMG, DAMAGED, picture(spoilt("JPEG", without_end)), "no end marker"),
    Case("A05", DROP_IMG, DAMAGED, picture(spoilt("PNG", flipped(0.5))), "fails its checksum"),
    Case("A06", OK, "", picture(spoilt("JPEG", flipped(0.9), quality=95))),
    Case("A07", DROP_IMG, DAMAGED, picture(b"<!DOCTYPE html><html>404 Not Found</html>"), "is no picture"),
    Case("A08", DROP_IMG, "name-is-folder", folder),
    Case("A09", DROP_IMG, "picture-missing", dangling, "a link to nothing"),
    Case("A09 a ring of links", DROP_IMG, "picture-missing", in_a_ring, "a link to nothing"),
    Case("A10", OK, "", named("link.png", link=True)),
    Case("A11", OK, "", picture(exif(6, TURNED))),
    Case("A12", WARN, "size-before-exif", picture(exif(6, (HEIGHT, WIDTH)))),
    Case("A13", OK, "", picture(saved("JPEG", exif=b"Exif\0\0" + b"\xff" * 40))),
    Case("A14", OK, "", picture(saved("JPEG", "CMYK"))),
    Case("A15", OK, "", picture(saved("JPEG", "L"))),
    Case("A16", OK, "", picture(saved("PNG", "1"))),
    Case("A17", OK, "", picture(saved("PNG", "P"))),
    Case("A18", OK, "", picture(saved("PNG", "P", transparency=bytes(range(256))))),
    Case("A19", OK, "", picture(saved("PNG", "RGBA"))),
    Case("A20", OK, "", picture(saved("PNG", "LA"))),
    Case("A21 16 bits", OK, "", picture(saved("PNG", "I;16"))),
    Case("A22", DROP_IMG, DAMAGED, picture(array(np.full((HEIGHT, WIDTH), 0.5, np.float32))), "floats"),
    Case("A23 32 bits", OK, "", picture(array(np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH)))),
    Case("A24", OK, "", line),
    Case("A25", DROP_IMG, DAMAGED, picture(png(50_000, 50_000, chunk(b"IDAT", b""), END)), "2500000000 pixels"),
    Case("A26", DROP_IMG, DAMAGED, picture(large), "10000 x 9000 pixels"),
    Case("A27", OK, "", picture(animation)),
    Case("A29", OK, "", named("A.PNG")),
    Case("A30", OK, "", picture(saved("WEBP"))),
    Case("A31", DROP_IMG, DAMAGED, picture(png(WIDTH, HEIGHT, BOMB, grey_rows(), END))),
    Case("A31 behind the pixels", DROP_IMG, DAMAGED, picture(png(WIDTH, HEIGHT, grey_rows(), BOMB, END))),
    Case("A32", DROP_IMG, DAMAGED, picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n"), "is no picture"),
    Case("A33", OK, "", picture(spoilt("JPEG", lambda content: content + b"<?php system('id'); ?>" * 9))),
    Case("A34", DROP_IMG, DAMAGED, picture(png(0, 0, END))),
    Case("A35 half a PNG", DROP_IMG, DAMAGED, picture(spoilt("PNG", lambda c: c[: len(c) // 2])), "the PNG is cut off"),
    Case("A36 no IEND", DROP_IMG, DAMAGED, picture(png(WIDTH, HEIGHT, grey_rows())), "the PNG is cut off"),
    Case("A37 no pixels", DROP_IMG, DAMAGED, picture(png(WIDTH, HEIGHT, chunk(b"tEXt", b"a\0b"), END))),
    Case("A38 half a TIFF", DROP_IMG, DAMAGED, picture(spoilt("TIFF", lambda c: c[: len(c) // 2]))),
    Case("A39 half a BMP", DROP_IMG, DAMAGED, picture(spoilt("BMP", lambda c: c[: len(c) // 2]))),
    Case("A40 half a WebP", DROP_IMG, DAMAGED, picture(spoilt("WEBP", lambda c: c[: len(c) // 2]))),
    Case("A41 half a GIF", DROP_IMG, DAMAGED, picture(spoilt("GIF", lambda c: c[: len(c) // 2]))),
    Case("A42 a pipe", DROP_IMG, "picture-missing", pipe, "a device, a pipe"),
    Case("A43 another size", DROP_IMG, "size-not-the-pictures", image(height=HEIGHT + 1), "states 32 x 25 px"),
    Case("A44 sides swapped", DROP_IMG, "size-not-the-pictures", image(height=WIDTH, width=HEIGHT)),
    Case("A45 SVG", DROP_IMG, DAMAGED, picture(b'<svg xmlns="http://www.w3.org/2000/svg"/>')),
    Case("A46 PDF", DROP_IMG, DAMAGED, picture(b"%PDF-1.7\n1 0 obj\n")),
    Case("A47 a thumbnail's end", DROP_IMG, DAMAGED, picture(with_thumbnail), "no end marker"),
    Case("A48 zeros", DROP_IMG, DAMAGED, picture(bytes(4096))),
    Case("A49 an end in the tail", OK, "", picture(spoilt("JPEG", lambda content: content + bytes(1 << 20)))),
    Case("A52 no pixels, no words", DROP_IMG, DAMAGED, picture(png(WIDTH, HEIGHT, END))),
    Case("A52 half the lines", DROP_IMG, DAMAGED, lines(zlib.compress(bytes((WIDTH + 1) * HEIGHT // 2)))),
    Case("A52 not deflated", DROP_IMG, DAMAGED, lines(b"garbage" * 20)),
    Case("A52 no such filter", DROP_IMG, DAMAGED, lines(zlib.compress((b"\x09" + bytes(WIDTH)) * HEIGHT))),
    Case("A52 more lines than stated", OK, "", lines(zlib.compress(bytes((WIDTH + 1) * HEIGHT * 2)))),
    Case("A53 a JPEG without a scan", DROP_IMG, DAMAGED, picture(spoilt("JPEG", without_scan))),
    Case("A53 of a kind nobody reads", DROP_IMG, DAMAGED, picture(spoilt("JPEG", lossless))),
    Case("A54 padding before a marker", OK, "", picture(spoilt("JPEG", lambda c: c[:2] + b"\xff" * 200_000 + c[2:]))),
    Case(
        "A54 padding without an end",
        DROP_IMG,
        DAMAGED,
        picture(spoilt("JPEG", lambda content: content[: content.index(b"\xff\xda")] + b"\xff" * 200_000)),
    ),
    Case("A51 over 1 GiB", DROP_IMG, DAMAGED, picture(endless), "larger than 1024 MiB"),
    Case("A50 EXIF turns a square", OK, "", picture(exif(3, (HEIGHT, WIDTH)))),
]

NAMES = [
    Case("B01", OK, "", named("zelle-é-細胞-🔬.png")),
    Case("B02", OK, "", named("a 'b' \"c\" [d] (e) 50% #1.png")),
    Case("B03", OK, "", named("sub/dir/a.png")),
    Case("B04 dots inside", OK, "", called("sub/../a.png")),
    Case("B05", DROP_IMG, "name-leads-out", outside, "relative to that folder"),
    Case("B05 the system's", DROP_IMG, "name-leads-out", called("/etc/passwd")),
    Case("B06", DROP_IMG, "picture-missing", called("sub\\dir\\a.png"), "write / instead of"),
    Case("B07", DROP_IMG, "image-without-name", called("")),
    Case("B08", DROP_IMG, "name-with-nul", called("a.png\0.txt"), "a.png\\x00.txt"),
    Case("B09", DROP_IMG, "name-is-address", called("https://example.com/a.png"), "download"),
    Case("B10", DROP_IMG, "name-leads-out", above),
    Case("B11", DROP_IMG, "picture-missing", called("A.png"), "did you mean 'a.png'"),
    Case("B25 accents composed otherwise", DROP_IMG, "picture-missing", composed, "Unicode NFC or NFD"),
    Case("B12 a folder's", DROP_IMG, "name-is-folder", called(".")),
    Case("B13", OK, "", named("$(mkdir CANARY);`mkdir CANARY`|&.png")),
    Case("B14", OK, "", named("<img src=x onerror=alert(1)>.png")),
    Case("B15", OK, "", named("--help.png")),
    Case("B16 a newline", OK, "", named("a\nb.png")),
    Case("B17 5,000 characters", DROP_IMG, "name-too-long", called("a" * 5000)),
    Case("B17 1,000 folders", DROP_IMG, "picture-missing", called("x/" * 1000 + "a.png")),
    Case("B18 300 characters", DROP_IMG, "picture-unreadable", called("a" * 300 + ".png")),
    Case("B19 half a character", DROP_IMG, "picture-missing", called("\ud800.png")),
    Case("B20 a number", DROP_IMG, "image-without-name", called(7)),
    Case("B21 a list", DROP_IMG, "image-without-name", called(["a.png"])),
    Case("B22 an escape sequence", DROP_IMG, "picture-missing", called("\x1b[2J.png"), "\\x1b[2J.png"),
    Case("B23 below a picture", DROP_IMG, "picture-missing", called("b.png/a.png")),
    Case("B24 a blank behind", DROP_IMG, "picture-missing", called("a.png ")),
]

ROWS = [
    Case("C01 height below 0", DROP_IMG, "size-not-whole", image(height=-HEIGHT)),
    Case("C02 a half", DROP_IMG, "size-not-whole", image(height=HEIGHT + 0.5)),
    Case("C03", WARN, "size-missing", image(height=..., width=...)),
    Case("C03 one side", WARN, "size-missing", image(height=...)),
    Case("C04", WARN, "size-missing", image(height=0, width=0)),
    Case("C05", OK, "", image(height=float(HEIGHT), width=float(WIDTH))),
    Case("C06", DROP_IMG, "image-too-large", image(height=10**6, width=10**6)),
    Case("C06 a larger one", DROP_IMG, "size-not-whole", image(height=10**400, width=10**400)),
    Case("C07", WARN, "picture-listed-twice", image(file_name="b.png")),
    Case("C08 a size as text", DROP_IMG, "size-not-whole", image(height=str(HEIGHT))),
    Case("C08 NaN", DROP_IMG, "size-not-whole", image(height=float("nan"))),
    Case("C08 true", DROP_IMG, "size-not-whole", image(height=True)),
    Case("C09", DROP_IMG, "image-without-id", image(id=...), "has no id", orphans=2),
    Case("C09 null", DROP_IMG, "image-without-id", image(id=None), orphans=2),
    Case("C09 a list", DROP_IMG, "image-without-id", image(id=[1]), "neither an integer nor a text", orphans=2),
    Case("C09 a fraction", DROP_IMG, "image-without-id", image(id=1.5), orphans=2),
    Case("C10", DROP_IMG, "image-without-name", image(file_name=...)),
    Case("C11", OK, "", lambda bench: renumber(bench, 0)),
    Case("C12", OK, "", lambda bench: renumber(bench, 2**53 + 1)),
    Case("C12 of 4,000 digits", OK, "", lambda bench: renumber(bench, 10**4000)),
    Case("C13 a text", OK, "", lambda bench: renumber(bench, "1a")),
    Case("C14 null, no object", DROP_IMG, "image-not-object", row_of("images", None), orphans=2),
    Case("C14 a text, no object", DROP_IMG, "image-not-object", row_of("images", "a.png"), orphans=2),
    Case("C15 an id of 1 MB", OK, "", lambda bench: renumber(bench, "x" * 10**6)),
]


def renumber(bench, number):
    image(id=number)(bench)
    for row in bench.document["annotations"][:2]:
        annotation(image_id=number)(_Only(row))


class _Only:
    def __init__(self, row):
        self.document = {"annotations": [row]}


CASES = FILES + NAMES + ROWS
