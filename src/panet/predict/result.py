"""What a model found in one picture, in image px; masks are made when they are asked for."""

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panet.data.images import printable
from panet.errors import DataError
from panet.predict.draw import Drawn, Window, overlay, reduction_for, scale_for
from panet.predict.large import LargeImage
from panet.predict.masks import GridMasks, Masks
from panet.structures import Detections, LabelMap, Size

__all__ = ["Result"]


class Result:
    """What a model found in one picture, best first.

    Attributes:
        boxes: (D, 4) float32 xyxy, image px.
        scores: (D,) float32, 0..1.
        labels: (D,) int64, 1..K.
        names: D class names.
        masks: D masks, each made when it is taken; None if the model has no mask branch.
        source: the picture's file, or "" if it came from memory.
        size: the picture's (height, width), px.
        num_full_tiles: tiles with as many detections as are kept of one, so that there may be more; 0 without tiles.
    """

    def __init__(
        self,
        image: NDArray[np.uint8] | LargeImage,
        detections: Detections,
        label_map: LabelMap,
        source: str = "",
        masks: Masks | None = None,
        num_full_tiles: int = 0,
    ) -> None:
        """Take a picture and its detections, on the CPU, in image px; their masks, if they are no longer grids."""
        self._image = image
        self.source = source
        self.num_full_tiles = num_full_tiles
        self.size: Size = image.size if isinstance(image, LargeImage) else image.shape[:2]
        self.boxes: NDArray[np.float32] = detections.boxes.numpy()
        self.scores: NDArray[np.float32] = detections.scores.numpy()
        self.labels: NDArray[np.int64] = detections.labels.numpy()
        self.names = [label_map.name(int(label)) for label in self.labels]
        self.masks = masks
        if detections.mask_grids is not None:
            self.masks = GridMasks(detections, self.size)
        self._label_map = label_map
        self._last = int(detections.inclusive)  # the pixel that x2, y2 name

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The picture, (H, W, 3) uint8 RGB; one that was looked at tile by tile is read now, as a whole."""
        return self._image.read() if isinstance(self._image, LargeImage) else self._image

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
        """Give the picture with the objects drawn on it; a small picture is magnified, a very large one reduced."""
        divisor = reduction_for(self.size)
        image = self._image.reduced(divisor) if isinstance(self._image, LargeImage) and divisor > 1 else self.image
        height, width = image.shape[:2]
        factor = scale_for((height, width))
        size = height * factor, width * factor
        captions = [f"{name} {score:.0%}" for name, score in zip(self.names, self.scores, strict=True)]
        return overlay(image, [Drawn(self._window(i, size), caption) for i, caption in enumerate(captions)])

    def _window(self, index: int, size: Size) -> Window:
        """Give what is drawn of an object in the picture of that size: its mask, or its box if there are no masks."""
        if self.masks is not None:
            return self.masks.window(index, size)
        y, x = (shown / own for shown, own in zip(size, self.size, strict=True))
        sides = zip(self.boxes[index].tolist(), (x, y, x, y), strict=True)
        left, top, right, bottom = (round(side * factor) for side, factor in sides)
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
