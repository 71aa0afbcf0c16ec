"""Pictures with objects drawn on them: a thin outline on each mask's edge, a light fill, a caption where it fits."""

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from panet.ops.rle import MAX_PIXELS
from panet.structures import Size

__all__ = ["Drawn", "Window", "overlay", "reduction_for", "scale_for"]

Window: TypeAlias = tuple[NDArray[np.bool_], int, int]
"""A mask's part (h, w) of a picture, and the column and row of its top left pixel."""

_COMFORTABLE = 1024  # px; the longer side up to which small pictures are magnified
_MOST_MAGNIFIED = 4
_MOST_REDUCED = 16_000_000  # px, about, of a picture that is reduced
_FILL = 0.22
_GOLDEN_RATIO = 0.618034  # successive hues lie far apart, however many there are
_MOST_CAPTIONS = 30  # more objects than this, and captions would hide the picture

Box: TypeAlias = tuple[float, float, float, float]


class Drawn(NamedTuple):
    """One object to draw: its mask and caption, in px of the magnified picture."""

    window: Window
    caption: str


def scale_for(size: Size) -> int:
    """Give the whole factor by which a picture is magnified, so that an outline does not hide a small object."""
    return max(1, min(_MOST_MAGNIFIED, round(_COMFORTABLE / max(size))))


def reduction_for(size: Size) -> int:
    """Give the whole number by which a very large picture is divided: above 64 million pixels, to about 16 million."""
    height, width = size
    return math.ceil(math.sqrt(height * width / _MOST_REDUCED)) if height * width > MAX_PIXELS else 1


def overlay(image: NDArray[np.uint8], objects: Sequence[Drawn]) -> Image.Image:
    """Draw objects on a picture magnified by `scale_for`; the same objects always get the same colours.

    Args:
        image: (H, W, 3) RGB.
        objects: best first; the best are drawn on top.
    """
    height, width = image.shape[:2]
    factor = scale_for((height, width))
    picture = Image.fromarray(image).resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    canvas = np.array(picture)
    line = max(1, round(max(canvas.shape) / 1000))
    is_bright = float(image.mean()) > 127 if image.size else False
    colours = [_colour(i, is_bright) for i in range(len(objects))]
    for drawn, colour in reversed(list(zip(objects, colours, strict=True))):
        _blend(canvas, drawn.window, colour, _FILL)
    for drawn, colour in reversed(list(zip(objects, colours, strict=True))):
        mask, left, top = drawn.window
        _blend(canvas, (_edge(mask, line), left, top), colour, 1.0)
    picture = Image.fromarray(canvas)
    if len(objects) <= _MOST_CAPTIONS:
        _write_captions(picture, objects, colours)
    return picture


def _colour(index: int, on_bright: bool) -> tuple[int, int, int]:
    """Give a vivid colour; darker on a bright picture, where yellow and cyan would fade."""
    hue = (0.12 + index * _GOLDEN_RATIO) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 1.0 if on_bright else 0.8, 0.72 if on_bright else 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _blend(canvas: NDArray[np.uint8], window: Window, colour: tuple[int, int, int], share: float) -> None:
    """Mix a colour into the canvas where the window's mask is set."""
    mask, left, top = window
    part = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    mixed = part[mask] * (1 - share) + np.array(colour) * share
    part[mask] = np.rint(mixed).astype(np.uint8)


def _edge(mask: NDArray[np.bool_], line: int) -> NDArray[np.bool_]:
    """Give the pixels of a mask that are at most `line` steps from its outside."""
    inner = np.pad(mask, 1)
    for _ in range(line):
        core = inner[1:-1, 1:-1]
        core = core & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        inner = np.pad(core, 1)
    return mask & ~inner[1:-1, 1:-1]


def _write_captions(picture: Image.Image, objects: Sequence[Drawn], colours: Sequence[tuple[int, int, int]]) -> None:
    """Write each caption above its object, or inside it at the top; leave it out where another one is."""
    font = ImageFont.load_default(max(12, round(min(max(picture.size) / 70, *picture.size))))
    pen = ImageDraw.Draw(picture)
    taken: list[Box] = []
    for drawn, colour in zip(objects, colours, strict=True):
        mask, left, top = drawn.window
        _, _, width, height = pen.textbbox((0, 0), drawn.caption, font=font)
        width, height = width + 4, height + 4
        if not drawn.caption or not mask.size or width > 2 * mask.shape[1]:
            continue  # it would speak for the neighbours too
        x = max(0.0, min(float(left), picture.width - width))
        y = float(top - height if top >= height else top)
        place = (x, y, x + width, y + height)
        if any(_overlap(place, other) for other in taken):
            continue
        taken.append(place)
        pen.rectangle(place, fill=colour)
        pen.text((x + 2, y + 1), drawn.caption, fill=_readable_on(colour), font=font)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _readable_on(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
