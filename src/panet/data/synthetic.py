"""A deterministic data set of coloured shapes, so that tests and trials need no download.

Discs, rectangles, triangles and rings (with holes) in their class's colour on grey noise, one over another; only what
is visible belongs to an object. Of eight pictures, one has a crowd and one has nothing.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from panet.data.dataset import sample_generator
from panet.ops.polygons import trace
from panet.ops.rle import Mask, encode, to_box
from panet.structures import Size

__all__ = ["CATEGORIES", "write_shapes"]

CATEGORIES = {2: "disc", 3: "rectangle", 5: "triangle", 7: "ring"}
"""Category id -> name; the ids have gaps, as real ones do."""

_COLOURS = {2: (200, 60, 50), 3: (60, 170, 70), 5: (60, 90, 210), 7: (220, 190, 50)}
_EMPTY_TURN, _CROWD_TURN, _TURNS = 5, 3, 8
_CROWD_CATEGORY = 2
_MIN_VISIBLE = 0.3  # share of a shape; less of it is painted, but not annotated


def write_shapes(folder: str | Path, num_train: int, num_val: int, size: int, seed: int) -> None:
    """Write train.json, val.json and images/; the same arguments give the same bytes.

    Args:
        folder: made if absent.
        size: the longer side in px; pictures are square, wide (4:3) and high (3:4) by turns.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate((("train", num_train), ("val", num_val))):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(count):
            name = f"{split}_{index:04d}.png"
            shape = ((size, size), (size * 3 // 4, size), (size, size * 3 // 4))[index % 3]
            pixels, objects = _paint(shape, index % _TURNS, sample_generator(seed, number, index))
            Image.fromarray(pixels).save(folder / "images" / name)
            images.append({"id": index + 1, "file_name": name, "height": shape[0], "width": shape[1]})
            for category, mask, crowd in objects:
                row = _annotation(category, mask, crowd)
                annotations.append({"id": len(annotations) + 1, "image_id": index + 1, **row})
        categories = [{"id": category, "name": name} for category, name in CATEGORIES.items()]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(document), encoding="utf-8")


def _paint(size: Size, turn: int, generator: torch.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, Mask, bool]]]:
    """Give the (H, W, 3) pixels and (category id, visible mask, crowd) of each object."""
    pixels = torch.randint(90, 130, (*size, 3), generator=generator, dtype=torch.uint8).numpy()
    shapes = [] if turn == _EMPTY_TURN else list(_draw_shapes(size, turn == _CROWD_TURN, generator))
    owner = np.full(size, -1)
    for number, (category, mask, _) in enumerate(shapes):
        light = 0.85 + 0.15 * float(torch.rand((), generator=generator))
        pixels[mask] = (np.array(_COLOURS[category]) * light).astype(np.uint8)
        owner[mask] = number
    visible = [(category, mask & (owner == i), mask, crowd) for i, (category, mask, crowd) in enumerate(shapes)]
    return pixels, [
        (category, seen, crowd)
        for category, seen, mask, crowd in visible
        if seen.sum() >= max(1, _MIN_VISIBLE * mask.sum())
    ]


def _draw_shapes(size: Size, with_crowd: bool, generator: torch.Generator) -> Iterator[tuple[int, Mask, bool]]:
    height, width = size

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    if with_crowd:
        radius = min(size) / 16
        places = [(draw(0, width / 2), draw(0, height / 2)) for _ in range(12)]
        yield _CROWD_CATEGORY, np.any([_shape(2, size, x, y, radius) for x, y in places], axis=0), True
    for _ in range(2 + int(draw(0, 4))):
        category = list(CATEGORIES)[int(draw(0, len(CATEGORIES)))]
        radius = draw(min(size) / 10, min(size) / 4)
        yield category, _shape(category, size, draw(0, width), draw(0, height), radius), False


def _shape(category: int, size: Size, x: float, y: float, radius: float) -> Mask:
    """Draw a shape of about that radius around (x, y), cut by the picture's edges."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    across, down = columns - x, rows - y
    distance = np.hypot(across, down)
    mask = {
        "disc": distance <= radius,
        "rectangle": (np.abs(across) <= radius) & (np.abs(down) <= radius * 0.6),
        "triangle": (np.abs(across) * 2 <= down + radius) & (down <= radius),
        "ring": (distance <= radius) & (distance >= radius * 0.5),
    }[CATEGORIES[category]]
    return np.asarray(mask)


def _annotation(category: int, mask: Mask, crowd: bool) -> dict[str, Any]:
    rle = encode(mask)
    polygons = trace(mask)
    segmentation: object
    if crowd:  # as COCO has crowds: counts as a list
        line = np.concatenate([[0], mask.T.ravel().astype(np.int8), [2]])
        edges = np.flatnonzero(np.diff(line))
        segmentation = {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}
    elif any(polygon.holes for polygon in polygons):
        segmentation = rle
    else:
        segmentation = [polygon.exterior.ravel().tolist() for polygon in polygons]
    x1, y1, x2, y2 = to_box(rle)
    return {
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(mask.sum()),
        "iscrowd": int(crowd),
        "segmentation": segmentation,
    }
