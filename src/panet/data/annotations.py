"""All objects of a data set in a few flat arrays: small, and cheap to hand to worker processes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from panet.ops.rle import Rle
from panet.structures import Size

__all__ = ["AnnotationTable", "ImageAnnotations", "ObjectRecord"]


class ObjectRecord(NamedTuple):
    """One annotated object.

    Args:
        label: 1..K.
        crowd: whether it stands for many objects.
        rle: its mask, clipped to the picture; not empty.
        box: (x1, y1, x2, y2) of the mask, image px.
        area: of the mask, px.
        stored_box: (x, y, w, h) as the file has it, for the evaluator.
        stored_area: as the file has it.
    """

    label: int
    crowd: bool
    rle: Rle
    box: tuple[int, int, int, int]
    area: int
    stored_box: tuple[float, float, float, float]
    stored_area: float


@dataclass(frozen=True)
class ImageAnnotations:
    """The G objects of one picture, in the file's order.

    Args:
        labels: (G,) int64.
        crowd: (G,) bool.
        boxes: (G, 4) float32 xyxy of the masks, image px.
        areas: (G,) int64, of the masks.
        stored_boxes: (G, 4) float64 xywh, as the file has them: COCO computes a polygon's box from its corners, so it
            differs from the mask's by up to a pixel, and some are wrong.
        stored_areas: (G,) float64.
        masks: G RLEs of the picture's size.
    """

    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    stored_boxes: NDArray[np.float64]
    stored_areas: NDArray[np.float64]
    masks: tuple[Rle, ...]

    def __len__(self) -> int:
        return len(self.labels)


class AnnotationTable:
    """The objects of all pictures; `table[i]` gives those of picture i."""

    def __init__(self, objects: Sequence[Sequence[ObjectRecord]], sizes: Sequence[Size]) -> None:
        """Take each picture's objects and its (height, width)."""
        flat = [record for records in objects for record in records]
        counts = [record.rle["counts"].encode("ascii") for record in flat]
        self._sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        self._starts = np.cumsum([0, *(len(records) for records in objects)])
        self._labels = np.array([record.label for record in flat], dtype=np.int64)
        self._crowd = np.array([record.crowd for record in flat], dtype=bool)
        self._boxes = np.array([record.box for record in flat], dtype=np.float32).reshape(-1, 4)
        self._areas = np.array([record.area for record in flat], dtype=np.int64)
        self._stored_boxes = np.array([record.stored_box for record in flat], dtype=np.float64).reshape(-1, 4)
        self._stored_areas = np.array([record.stored_area for record in flat], dtype=np.float64)
        self._counts = b"".join(counts)
        self._count_starts = np.cumsum([0, *map(len, counts)])

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> ImageAnnotations:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, stop = int(self._starts[index]), int(self._starts[index + 1])
        size = [int(side) for side in self._sizes[index]]
        cuts = self._count_starts[start : stop + 1].tolist()
        counts = [self._counts[a:b].decode("ascii") for a, b in itertools.pairwise(cuts)]
        part = slice(start, stop)
        return ImageAnnotations(
            labels=self._labels[part],
            crowd=self._crowd[part],
            boxes=self._boxes[part],
            areas=self._areas[part],
            stored_boxes=self._stored_boxes[part],
            stored_areas=self._stored_areas[part],
            masks=tuple({"size": size, "counts": text} for text in counts),
        )

    @property
    def num_objects(self) -> int:
        """Count the objects, crowds included."""
        return len(self._labels)
