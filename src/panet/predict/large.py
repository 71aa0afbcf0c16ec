"""A picture that is too large to be kept: it is read again when it is asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panet.data.windows import ImageLike, open_windows
from panet.ops.tiles import Tile
from panet.structures import Size

__all__ = ["LargeImage"]

_STRIP = 256  # rows of the reduced picture that are made at once


@dataclass(frozen=True)
class LargeImage:
    """Where a picture comes from.

    Args:
        source: a file, an opened picture or an array.
        size: upright (height, width), px.
    """

    source: ImageLike
    size: Size

    def read(self) -> NDArray[np.uint8]:
        """Give (H, W, 3) RGB; DataError if the file is no longer what it was."""
        with open_windows(self.source) as picture:
            return picture.read(Tile(0, 0, *self.size)).permute(1, 2, 0).contiguous().numpy()

    def reduced(self, divisor: int) -> NDArray[np.uint8]:
        """Give the picture's mean over squares of so many px a side, (h, w, 3) RGB, the last ones cut.

        Costs no more memory than that, and the parts of the picture for some rows of it.
        """
        height, width = (-(side // -divisor) for side in self.size)
        shown = np.empty((height, width, 3), dtype=np.uint8)
        with open_windows(self.source) as picture:
            for top in range(0, height, _STRIP):
                num_rows = min(_STRIP * divisor, self.size[0] - top * divisor)
                strip = picture.read(Tile(top * divisor, 0, num_rows, self.size[1])).permute(1, 2, 0)
                part = np.asarray(Image.fromarray(strip.contiguous().numpy()).reduce(divisor))
                shown[top : top + len(part)] = part
        return shown
