"""A large picture, looked at tile by tile: one scale in all of them, and each object told once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from panet.data.windows import Picture
from panet.errors import ConfigError
from panet.ops import rle
from panet.ops.paste import masks_to_rle
from panet.ops.stitching import Piece, stitch
from panet.ops.tiles import Tile, lay_tiles
from panet.predict.masks import RleMasks
from panet.structures import Detections, Size

__all__ = ["Found", "Tiling", "find_by_tiles"]

_SIDES = (32, 8000)  # px of a tile, and of what the network gets of it


@dataclass(frozen=True)
class Tiling:
    """How large pictures are cut.

    Args:
        side: of a tile, image px; a picture with no longer side is looked at as a whole.
        overlap: what neighbours share at least, as a share of the side, above 0 to 0.5.
        scale: input px an image px; None for the model's rule for a picture of a tile's size, but at least 1.
    """

    side: int
    overlap: float = 0.2
    scale: float | None = None

    def __post_init__(self) -> None:
        low, high = _SIDES
        if isinstance(self.side, bool) or not isinstance(self.side, int) or not low <= self.side <= high:
            raise ConfigError(f"tile: {self.side!r}: expected a whole number of px, {low} to {high}")
        if not 0 < self.overlap <= 0.5:
            raise ConfigError(f"overlap: {self.overlap}: expected a share of the tile's side, above 0 to 0.5")
        if self.scale is not None and not low <= self.side * self.scale <= high:
            raise ConfigError(
                f"tile scale: {self.scale}: a tile of {self.side} px becomes {self.side * self.scale:g} px for the "
                f"network: expected {low} to {high}"
            )

    def cut(self, size: Size) -> list[Tile]:
        """Give the tiles of a picture of that (height, width)."""
        return lay_tiles(size, self.side, max(1, int(self.side * self.overlap)))


class Found(NamedTuple):
    """The objects of a picture, best first, without grids; their masks, if the model makes any; what was left out.

    Args:
        num_full: tiles with as many detections as are kept of one: there may have been more.
    """

    detections: Detections
    masks: RleMasks | None
    num_full: int


def find_by_tiles(
    picture: Picture,
    tiling: Tiling,
    detect: Callable[[Tensor], Detections],
    most: int,
    progress: Callable[[int, int], None] | None,
) -> Found:
    """Detect in each tile, and stitch; memory is that of a tile, and of the encoded masks.

    Without masks, boxes are stitched as if they were masks.

    Args:
        picture: larger than a tile.
        tiling: how it is cut.
        detect: (3, h, w) uint8 -> detections, px of the tile.
        most: detections that are kept of a tile.
        progress: called after each tile with the number of tiles done, and of all.
    """
    tiles = tiling.cut(picture.size)
    pieces: list[Piece] = []
    num_full = 0
    for number, tile in enumerate(tiles):
        found = detect(picture.read(tile)).to(torch.device("cpu"))
        pieces += _name_pieces(number, tile, found)
        num_full += len(found) >= most
        if progress is not None:
            progress(number + 1, len(tiles))
    stitched = stitch(pieces, tiles, picture.size)
    detections = Detections(
        torch.tensor([each.box for each in stitched], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([each.score for each in stitched], dtype=torch.float32),
        torch.tensor([each.label for each in stitched], dtype=torch.int64),
        inclusive=found.inclusive,
        grown=found.grown,
    )
    has_masks = found.mask_grids is not None
    masks = RleMasks([each.mask for each in stitched], picture.size) if has_masks else None
    return Found(detections, masks, num_full)


def _name_pieces(number: int, tile: Tile, found: Detections) -> list[Piece]:
    """Give a tile's detections, px of the tile, as pieces."""
    size = tile.height, tile.width
    if found.mask_grids is not None:
        masks = masks_to_rle(found.mask_grids, found.boxes, size, grown=found.grown)
    else:
        masks = [_fill(box, int(found.inclusive), size) for box in found.boxes.tolist()]
    boxes = (found.boxes + found.boxes.new_tensor([tile.left, tile.top] * 2)).tolist()
    rows = zip(found.labels.tolist(), found.scores.tolist(), boxes, masks, strict=True)
    return [Piece(number, label, score, (*box,), mask) for label, score, box, mask in rows]


def _fill(box: list[float], last: int, size: Size) -> rle.Rle:
    """Give a box as a mask of the pixels that it touches."""
    height, width = size
    x1, y1 = (min(max(int(np.floor(side)), 0), limit - 1) for side, limit in zip(box[:2], (width, height), strict=True))
    x2, y2 = (min(int(np.ceil(side)) + last, limit) for side, limit in zip(box[2:], (width, height), strict=True))
    return rle.encode_window(np.ones((max(y2 - y1, 1), max(x2 - x1, 1)), dtype=bool), x1, y1, size)
