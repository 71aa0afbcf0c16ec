"""A finding as a small picture: a crop with the mask's outline, the stored box and what else shows it."""

import io
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from panet.data.dataset import read_record
from panet.data.images import read_image
from panet.doctor.parts import Finding, Part, Points
from panet.ops.rle import decode_window

__all__ = ["draw_finding"]

_SIDE = 360  # px of the longer side
_MOST_MAGNIFIED = 8.0
_MARGIN, _LEAST = 0.25, 10.0  # around the object: a share of it, and px
_FAR = 1e4  # px of a crop; what is marked farther away is drawn there: Pillow goes along every pixel of a line
_QUALITY = 82
_GROUND = (120, 124, 130)
_MASKS = ((0, 220, 255), (255, 70, 200))
_STORED, _OUTLINE, _SPOT, _FRAME = (255, 200, 0), (255, 70, 200), (255, 50, 40), (255, 200, 0)

Pixels: TypeAlias = NDArray[np.uint8]
Region: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in image px; it may reach out of the picture."""


def draw_finding(finding: Finding, parts: Sequence[Part]) -> bytes:
    """Give a JPEG of at most 360 px (two such side by side for a pair of pictures).

    Raises:
        DataError: the picture cannot be decoded.
    """
    part = next(part for part in parts if part.name == finding.part)
    picture = _draw(part, finding, finding.image)
    if finding.twin is not None:
        other = next(part for part in parts if part.name == finding.twin[0])
        picture = _beside(picture, _draw(other, finding, finding.twin[1]))
    stream = io.BytesIO()
    # Thin lines keep their colour. (Not optimised: of noise, Pillow gives too little room for that, and fails.)
    picture.save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


def _draw(part: Part, finding: Finding, image: int | None) -> Image.Image:
    if image is None:
        assert finding.picture is not None
        pixels = read_image(finding.picture).permute(1, 2, 0).numpy()
    else:
        pixels = read_record(part.dataset.images[image]).permute(1, 2, 0).numpy()
    x1, y1, x2, y2 = region = _region(part, finding, image, pixels.shape[1], pixels.shape[0])
    scale = min(_SIDE / (x2 - x1), _SIDE / (y2 - y1), _MOST_MAGNIFIED)
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    canvas = _cut(pixels, region, scale, size)
    if image is not None and finding.frame is None and finding.twin is None and not finding.is_refused:
        objects = finding.objects or range(len(part.dataset.annotations[image]))
        canvas = _outline_masks(canvas, part, image, objects, region, scale, 2 if finding.objects else 1)
    _mark(ImageDraw.Draw(canvas), part, finding, image, region, scale)
    return canvas


def _region(part: Part, finding: Finding, image: int | None, width: int, height: int) -> Region:
    """Choose what is shown: the objects with all that is drawn of them, else the whole picture."""
    size = np.array([width, height], dtype=np.float64)
    drawn = _corners(part, finding, image)
    if finding.frame is not None or finding.twin is not None or not len(drawn):
        frame = np.array(finding.frame or (0, 0), dtype=np.float64)
        low, high = np.zeros(2), np.minimum(np.maximum(size, frame), 2 * size)
        margin = 0.0 if finding.frame is None else _LEAST
        return -margin, -margin, high[0] + margin, high[1] + margin
    span = np.concatenate(list(finding.outlines) or [drawn])
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    if (low >= size).any() or (high <= 0).any():  # nothing of it lies in the picture: show where it is
        low, high = np.minimum(low, 0), np.maximum(high, size)
    margin = _LEAST + _MARGIN * float((high - low).max())
    # A margin within the picture, and beyond it only as far as an outline goes; never farther than its own size.
    beyond = _LEAST if finding.outlines else 0.0
    low = np.maximum(low - margin, np.minimum(span.min(axis=0) - beyond, 0) if finding.outlines else 0)
    high = np.minimum(high + margin, np.maximum(span.max(axis=0) + beyond, size) if finding.outlines else size)
    low, high = np.floor(np.maximum(low, -size)), np.ceil(np.minimum(high, 2 * size))
    return float(low[0]), float(low[1]), float(max(high[0], low[0] + 1)), float(max(high[1], low[1] + 1))


def _corners(part: Part, finding: Finding, image: int | None) -> Points:
    """Give (N, 2) corners of all that is drawn: outlines, spots, masks' and stored boxes."""
    corners = [*finding.outlines, *(np.array([spot]) for spot in finding.spots), np.empty((0, 2))]
    if image is not None:
        objects = part.dataset.annotations[image]
        for i in finding.objects:
            stored = objects.stored_boxes[i]
            corners += [objects.boxes[i].reshape(2, 2), np.array([stored[:2], stored[:2] + stored[2:]])]
    return np.concatenate(corners).astype(np.float64)


def _cut(pixels: Pixels, region: Region, scale: float, size: tuple[int, int]) -> Image.Image:
    """Cut the region out, grey where there is no picture, and resize it."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = region
    left, top, right, bottom = max(0, int(x1)), max(0, int(y1)), min(width, int(x2)), min(height, int(y2))
    canvas = Image.new("RGB", size, _GROUND)
    if left < right and top < bottom:
        inside = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        cut = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
        place = round((left - x1) * scale), round((top - y1) * scale)
        canvas.paste(cut.resize(inside, Image.Resampling.BICUBIC), place)
    return canvas


def _outline_masks(
    canvas: Image.Image, part: Part, image: int, objects: Sequence[int], region: Region, scale: float, line: int
) -> Image.Image:
    """Draw the masks' edges; the first object in the first colour, all others in the second if there are two."""
    annotations, record = part.dataset.annotations[image], part.dataset.images[image]
    pixels = np.array(canvas)
    for turn, i in enumerate(objects):
        x1, y1, x2, y2 = annotations.boxes[i].astype(int).tolist()
        left, top = max(x1 - 1, 0, int(region[0])), max(y1 - 1, 0, int(region[1]))
        right, bottom = min(x2 + 1, record.width, int(region[2])), min(y2 + 1, record.height, int(region[3]))
        if left >= right or top >= bottom:
            continue
        mask = decode_window(annotations.masks[i], left, top, (bottom - top, right - left))
        size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        enlarged = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST), dtype=bool)
        edge = enlarged & ~_shrunk(enlarged, line)
        y, x = np.nonzero(edge)
        y, x = y + round((top - region[1]) * scale), x + round((left - region[0]) * scale)
        inside = (y >= 0) & (x >= 0) & (y < pixels.shape[0]) & (x < pixels.shape[1])
        pixels[y[inside], x[inside]] = _MASKS[min(turn, 1) if len(objects) == 2 else 0]
    return Image.fromarray(pixels)


def _shrunk(mask: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    for _ in range(times):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _mark(
    draw: ImageDraw.ImageDraw, part: Part, finding: Finding, image: int | None, region: Region, scale: float
) -> None:
    """Draw stored boxes, outlines, spots and the stated frame."""

    def place(x: float, y: float) -> tuple[float, float]:
        across, down = (x - region[0]) * scale, (y - region[1]) * scale
        return min(max(across, -_FAR), _FAR), min(max(down, -_FAR), _FAR)

    if finding.twin is None and image is not None:
        for i in finding.objects:
            x, y, width, height = part.dataset.annotations[image].stored_boxes[i].tolist()
            draw.rectangle((*place(x, y), *place(x + width, y + height)), outline=_STORED, width=2)
    for outline in finding.outlines:
        corners = [place(x, y) for x, y in outline.tolist()]
        draw.line([*corners, corners[0]], fill=_OUTLINE, width=2)
    for x, y in finding.spots:
        across, down = place(x, y)
        draw.ellipse((across - 9, down - 9, across + 9, down + 9), outline=_SPOT, width=3)
    if finding.frame is not None:
        draw.rectangle((*place(0, 0), *place(*finding.frame)), outline=_FRAME, width=3)


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Put two pictures side by side, at one height."""
    height = min(left.height, right.height)
    both = [picture.resize((max(1, picture.width * height // picture.height), height)) for picture in (left, right)]
    canvas = Image.new("RGB", (both[0].width + both[1].width + 6, height), _GROUND)
    canvas.paste(both[0], (0, 0))
    canvas.paste(both[1], (both[0].width + 6, 0))
    return canvas
