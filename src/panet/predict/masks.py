"""The masks of a picture's objects, in image px; each is made when it is asked for."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from panet.ops import polygons, rle
from panet.ops.paste import masks_to_rle, paste_mask
from panet.predict.draw import Window
from panet.structures import Detections, Size

__all__ = ["GridMasks", "Mask", "Masks", "RleMasks"]


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

    def __init__(self, size: Size) -> None:
        """Take the picture's (height, width)."""
        self._size = size

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> list[Mask]: ...
    def __getitem__(self, index: int | slice) -> Mask | list[Mask]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"mask {index} of {len(self)}")
        return Mask(self.window(index, self._size), self._size)

    @abstractmethod
    def to_rle(self) -> list[rle.Rle]:
        """Give all masks in COCO's compressed run-length encoding; faster than one by one."""

    @abstractmethod
    def window(self, index: int, size: Size) -> Window:
        """Give one mask in the picture resized to (height, width)."""

    def __repr__(self) -> str:
        return f"Masks({len(self)} of {self._size[1]} x {self._size[0]} px)"


class GridMasks(Masks):
    """Masks as the network gives them: magnified, their outlines are finer."""

    def __init__(self, detections: Detections, size: Size) -> None:
        """Take detections with mask grids, image px, and the picture's (height, width)."""
        super().__init__(size)
        assert detections.mask_grids is not None
        self._detections, self._grids = detections, detections.mask_grids

    def __len__(self) -> int:
        return len(self._detections)

    def to_rle(self) -> list[rle.Rle]:
        return masks_to_rle(self._grids, self._detections.boxes, self._size, grown=self._detections.grown)

    def window(self, index: int, size: Size) -> Window:
        y, x = (shown / own for shown, own in zip(size, self._size, strict=True))
        box = self._detections.boxes[index]
        mask, left, top = paste_mask(
            self._grids[index], box * box.new_tensor([x, y, x, y]), size, grown=self._detections.grown
        )
        return mask.numpy(), left, top


class RleMasks(Masks):
    """Encoded masks of a picture of any size: each is decoded where it is, and nothing around it."""

    def __init__(self, masks: Sequence[rle.Rle], size: Size) -> None:
        """Take masks of the picture's (height, width), and that."""
        super().__init__(size)
        self._masks = list(masks)

    def __len__(self) -> int:
        return len(self._masks)

    def to_rle(self) -> list[rle.Rle]:
        return list(self._masks)

    def window(self, index: int, size: Size) -> Window:
        x1, y1, x2, y2 = rle.to_box(self._masks[index])
        mask = rle.decode_window(self._masks[index], x1, y1, (y2 - y1, x2 - x1))
        top, rows = _nearest(y1, y2, self._size[0], size[0])
        left, columns = _nearest(x1, x2, self._size[1], size[1])
        return mask[np.ix_(rows, columns)], left, top


def _nearest(start: int, stop: int, source: int, target: int) -> tuple[int, NDArray[np.int64]]:
    """Resize a side from `source` to `target` px: give the first pixel whose centre lies in start..stop, and where."""
    places = ((2 * np.arange(target) + 1) * source) // (2 * target)
    first, last = np.searchsorted(places, [start, stop])
    return int(first), places[first:last] - start
