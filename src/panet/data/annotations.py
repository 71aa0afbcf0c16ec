"""All objects of a data set in a few flat arrays: small, and shared with worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from panet.data.packing import PackedTexts
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
        row: its place in the file's list of annotations.
    """

    label: int
    crowd: bool
    rle: Rle
    box: tuple[int, int, int, int]
    area: int
    stored_box: tuple[float, float, float, float]
    stored_area: float
    row: int = 0


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
        rows: (G,) int64 places in the file's list of annotations.
    """

    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    stored_boxes: NDArray[np.float64]
    stored_areas: NDArray[np.float64]
    masks: tuple[Rle, ...]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


class AnnotationTable:
    """The objects of all pictures; `table[i]` gives those of picture i.

    Kept as tensors, for the reason that `packing.PackedTexts` gives.
    """

    def __init__(self, objects: Sequence[Sequence[ObjectRecord]], sizes: Sequence[Size]) -> None:
        """Take each picture's objects and its (height, width)."""
        flat = [record for records in objects for record in records]
        self._sizes = torch.tensor([*sizes], dtype=torch.int64).reshape(-1, 2)
        self._starts = torch.tensor([0, *accumulate(map(len, objects))], dtype=torch.int64)
        self._labels = torch.tensor([record.label for record in flat], dtype=torch.int64)
        self._crowd = torch.tensor([record.crowd for record in flat], dtype=torch.bool)
        self._boxes = torch.tensor([record.box for record in flat], dtype=torch.float32).reshape(-1, 4)
        self._areas = torch.tensor([record.area for record in flat], dtype=torch.int64)
        self._stored_boxes = torch.tensor([record.stored_box for record in flat], dtype=torch.float64).reshape(-1, 4)
        self._stored_areas = torch.tensor([record.stored_area for record in flat], dtype=torch.float64)
        self._rows = torch.tensor([record.row for record in flat], dtype=torch.int64)
        self._counts = PackedTexts([record.rle["counts"] for record in flat])

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> ImageAnnotations:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, stop = self._starts[index : index + 2].tolist()
        size = self._sizes[index].tolist()
        part = slice(start, stop)
        return ImageAnnotations(
            labels=self._labels.numpy()[part],
            crowd=self._crowd.numpy()[part],
            boxes=self._boxes.numpy()[part],
            areas=self._areas.numpy()[part],
            stored_boxes=self._stored_boxes.numpy()[part],
            stored_areas=self._stored_areas.numpy()[part],
            masks=tuple({"size": size, "counts": text} for text in self._counts.between(start, stop)),
            rows=self.rows(index),
        )

    def rows(self, index: int) -> NDArray[np.int64]:
        """Give `self[index].rows`, at no cost."""
        start, stop = self._starts[index : index + 2].tolist()
        rows: NDArray[np.int64] = self._rows.numpy()[start:stop]
        return rows

    @property
    def num_objects(self) -> int:
        """Count the objects, crowds included."""
        return len(self._labels)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Give the number of objects of each picture, crowds included."""
        counts: NDArray[np.int64] = self._starts.diff().numpy()
        return counts

    def buffers(self) -> list[NDArray[Any]]:
        """Give all it holds but the objects' places in the file, flat."""
        objects = (self._labels, self._crowd, self._boxes, self._areas, self._stored_boxes, self._stored_areas)
        return [each.numpy() for each in (self._sizes, self._starts, *objects)] + self._counts.buffers()
