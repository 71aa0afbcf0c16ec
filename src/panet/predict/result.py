"""What a model found in one picture, in image px; masks are made when they are asked for."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panet.data.images import printable
from panet.errors import DataError
from panet.ops import polygons, rle
from panet.ops.paste import masks_to_rle, paste_mask
from panet.predict.draw import Drawn, Window, overlay, scale_for
from panet.structures import Detections, LabelMap, Size

__all__ = ["Mask", "Masks", "Result"]


class Mask:
    """One object's mask, in three forms, each made once when it is first read."""

    def __init__(self, window: Window, size: Size) -> None:
        """Take the mask's part of the picture, and the picture's (height, width)."""
        self._window, self._left, self._top = window
        self.size = size

    @cached_property
    def rle(self) -> rle.Rle:
        """COCO's compressed run-length encoding, ready for JSON."""
        return rle.encode_window(self._window, self._left, self._top, self.size)

    @cached_property
    def polygons(self) -> list[polygons.Polygon]:
        """Exact outlines along the pixels' edges, (x, y) image px: one polygon a part, with its holes."""
        corner = np.array([self._left, self._top])
        return [
            polygons.Polygon(part.exterior + corner, tuple(hole + corner for hole in part.holes))
            for part in polygons.trace(self._window)
        ]

    @cached_property
    def array(self) -> NDArray[np.bool_]:
        """(H, W) bool."""
        array = np.zeros(self.size, dtype=bool)
        height, width = self._window.shape
        array[self._top : self._top + height, self._left : self._left + width] = self._window
        return array

    @property
    def area(self) -> int:
        """Count its pixels."""
        return int(self._window.sum())

    def __repr__(self) -> str:
        return f"Mask({self.area} of {self.size[1]} x {self.size[0]} px)"


class Masks(Sequence[Mask]):
    """The masks of a picture's detections, in their order; each is made when it is taken."""

    def __init__(self, detections: Detections, size: Size) -> None:
        """Take detections with mask grids, image px, and the picture's (height, width)."""
        self._detections = detections
        self._size = size

    def __len__(self) -> int:
        return len(self._detections)

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> list[Mask]: ...
    def __getitem__(self, index: int | slice) -> Mask | list[Mask]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"mask {index} of {len(self)}")
        return Mask(self.window(index, 1), self._size)

    def to_rle(self) -> list[rle.Rle]:
        """Give all masks in COCO's compressed run-length encoding; faster than one by one."""
        grids = self._detections.mask_grids
        assert grids is not None
        return masks_to_rle(grids, self._detections.boxes, self._size, grown=self._detections.grown)

    def window(self, index: int, factor: int) -> Window:
        """Give one mask in the picture magnified by a factor: there, its outline is finer."""
        grids = self._detections.mask_grids
        assert grids is not None
        size = (self._size[0] * factor, self._size[1] * factor)
        mask, left, top = paste_mask(
            grids[index], self._detections.boxes[index] * factor, size, grown=self._detections.grown
        )
        return mask.numpy(), left, top

    def __repr__(self) -> str:
        return f"Masks({len(self)} of {self._size[1]} x {self._size[0]} px)"


class Result:
    """What a model found in one picture, best first.

    Attributes:
        boxes: (D, 4) float32 xyxy, image px.
        scores: (D,) float32, 0..1.
        labels: (D,) int64, 1..K.
        names: D class names.
        masks: D masks, each made when it is taken; None if the model has no mask branch.
        image: (H, W, 3) uint8 RGB, the picture.
        source: the picture's file, or "" if it came from memory.
    """

    def __init__(self, image: NDArray[np.uint8], detections: Detections, label_map: LabelMap, source: str = "") -> None:
        """Take a picture and its detections, on the CPU, in image px."""
        self.image = image
        self.source = source
        self.boxes: NDArray[np.float32] = detections.boxes.numpy()
        self.scores: NDArray[np.float32] = detections.scores.numpy()
        self.labels: NDArray[np.int64] = detections.labels.numpy()
        self.names = [label_map.name(int(label)) for label in self.labels]
        self.masks = None if detections.mask_grids is None else Masks(detections, self.size)
        self._label_map = label_map
        self._last = int(detections.inclusive)  # the pixel that x2, y2 name

    @property
    def size(self) -> Size:
        """The picture's (height, width), px."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def counts(self) -> dict[str, int]:
        """Count the objects of each class that was found; classes in the model's order."""
        counted = Counter(int(label) for label in self.labels)
        return {self._label_map.name(label): counted[label] for label in sorted(counted)}

    def to_coco(self, image_id: int | str = 1) -> list[dict[str, Any]]:
        """Give COCO results: image_id, category_id, bbox (x, y, w, h), score, segmentation (compressed RLE)."""
        results: list[dict[str, Any]] = [
            {
                "image_id": image_id,
                "category_id": self._label_map.category_id(int(label)),
                "bbox": [x1, y1, x2 - x1 + self._last, y2 - y1 + self._last],
                "score": float(score),
            }
            for (x1, y1, x2, y2), label, score in zip(self.boxes.tolist(), self.labels, self.scores, strict=True)
        ]
        if self.masks is not None:
            for result, mask in zip(results, self.masks.to_rle(), strict=True):
                result["segmentation"] = mask
        return results

    def draw(self) -> Image.Image:
        """Give the picture with the objects drawn on it; a small picture is magnified."""
        factor = scale_for(self.size)
        captions = [f"{name} {score:.0%}" for name, score in zip(self.names, self.scores, strict=True)]
        return overlay(self.image, [Drawn(self._window(i, factor), caption) for i, caption in enumerate(captions)])

    def _window(self, index: int, factor: int) -> Window:
        """Give what is drawn of an object: its mask, or its box if there are no masks."""
        if self.masks is not None:
            return self.masks.window(index, factor)
        left, top, right, bottom = (round(side * factor) for side in self.boxes[index].tolist())
        return np.ones((bottom - top, right - left), dtype=bool), left, top

    def save(self, path: str | Path) -> None:
        """Write `draw()` to a file of the format that its ending names; DataError if that cannot be done."""
        try:
            self.draw().save(path)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{printable(path)}: cannot be written: {error}: try a .png in a folder that exists"
            ) from error

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.counts.items()) or "nothing"
        return f"Result({self.source or 'picture'}, {self.size[1]} x {self.size[0]} px: {found})"
